"""A record's id, text and other fields."""

from __future__ import annotations

from typing import Any

import msgspec

from fanout.planning.frames import Problem
from fanout.planning.sandbox.jsontext import to_json
from fanout.planning.sandbox.read.record import Record, invalid

MAX_ID = 1024  # characters: ids are keys in the ledger and in every results line
LOST = "position:"
"""What the id of a record begins with whose own could not be read."""

_MISSING = object()


class Identified(msgspec.Struct, frozen=True, gc=False):
    """A record as the job sees it."""

    id: str
    text: str
    fields: dict[str, Any]
    """All but the text field."""


def identify(record: Record, position: int, *, text_field: str, id_field: str | None) -> Identified | Problem:
    """Take a record apart. A plain text's id is its position, even where the others have an id field.

    A record without the text field (or with null in it) has its other fields, as JSON, for its text; a text field that is no
    string is shown as its JSON.
    """
    value = record.value
    if isinstance(value, str):
        return Identified(str(position), value, {})
    id_ = str(position) if id_field is None else _id(record.where, value, id_field)
    if isinstance(id_, Problem):
        return id_
    found = lookup(value, text_field)
    text = None if found is _MISSING else found
    fields = value if found is _MISSING else _without(value, text_field)
    try:
        if text is None:
            text = to_json(fields).decode()
        elif not isinstance(text, str):
            text = to_json(text).decode()
    except ValueError as error:
        return invalid(f"{record.where}: {error}")
    return Identified(id_, text, fields)


def _id(where: str, value: dict[str, Any], id_field: str) -> str | Problem:
    found = lookup(value, id_field)
    if found is _MISSING:
        has = ", ".join(list(value)[:20]) or "none"
        return invalid(f'{where}: no field "{id_field}" (input.idField); its fields: {has}')
    if isinstance(found, bool) or not isinstance(found, str | int):
        return invalid(f'{where}: "{id_field}" (input.idField) must be a string or a whole number, not {_shown(found)}')
    id_ = str(found) if isinstance(found, str) or found.bit_length() < MAX_ID else ""
    if not id_ or len(id_) > MAX_ID or "\x00" in id_:
        return invalid(f'{where}: "{id_field}" (input.idField) must have 1 to {MAX_ID:,} characters, none of them NUL')
    if id_.startswith(LOST):
        return invalid(f'{where}: ids that begin with "{LOST}" stand for records without one: give this one another')
    return id_


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return to_json(value).decode()[:60] if isinstance(value, bool | float) else f"a {type(value).__name__}"


def lookup(value: dict[str, Any], path: str) -> Any:
    """What a field path leads to; a field with that whole name comes first (CSV headers may have dots)."""
    if path in value:
        return value[path]
    at: Any = value
    for step in path.split("."):
        if isinstance(at, dict) and step in at:
            at = at[step]
        elif isinstance(at, list) and step.isdecimal() and int(step) < len(at):
            at = at[int(step)]
        else:
            return _MISSING
    return at


def _without(value: dict[str, Any], path: str) -> dict[str, Any]:
    """The fields without the one that a path leads to. Elements of lists stay: their neighbours' places would change."""
    if path in value:
        return {key: each for key, each in value.items() if key != path}
    head, _, rest = path.partition(".")
    inner = value[head]
    return {**value, head: _without(inner, rest)} if isinstance(inner, dict) else value
