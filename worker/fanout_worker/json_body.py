"""JSON of untrusted origin, read within bounds."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

MAX_DEPTH = 100
"""Deeper values are refused: whoever reads them later (templates, writers) would run into Python's recursion limit."""


class JsonError(ValueError):
    """Not JSON, or JSON that cannot be kept; the message says what and where."""


def read_json(text: bytes | str) -> Any:
    """The value of a JSON text; raises JsonError. Numbers beyond a double's range and NaN are refused."""
    try:
        value = msgspec.json.decode(text)
    except RecursionError:
        raise JsonError(f"nested deeper than {MAX_DEPTH} levels") from None
    except (msgspec.DecodeError, UnicodeError, ValueError) as exc:
        raise JsonError(str(exc)) from None
    check_depth(value, text)
    return value


def read_body(body: bytes) -> Any:
    """Like read_json, for a server's response: tolerates a byte order mark, broken UTF-8 and half surrogate pairs."""
    try:
        return read_json(body)
    except JsonError as strict:
        try:
            text = body.decode("utf-8-sig", "replace")
            value = LENIENT.decode(text)
        except (ValueError, RecursionError):
            raise strict from None
        check_depth(value, text)
        return value


def check_depth(value: Any, text: bytes | str) -> None:
    """Raise JsonError when `value`, read from `text`, is nested deeper than MAX_DEPTH."""
    # There are no more levels than opening brackets: this settles nearly all values without walking them.
    openings = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if openings <= MAX_DEPTH:
        return
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise JsonError(f"nested deeper than {MAX_DEPTH} levels")


def write_json(value: Any) -> bytes:
    """Compact JSON, in one line; raises JsonError for half a surrogate pair, which UTF-8 cannot carry."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        raise JsonError("a string holds half of a surrogate pair (\\ud800 to \\udfff)") from None


def clean(text: str) -> str:
    """`text` with halves of surrogate pairs replaced, so that UTF-8 can carry it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _children(value: Any) -> list[Any]:
    """The containers inside `value`, and its scalars' absence: only containers make levels."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return []
    return [child for child in value if isinstance(child, dict | list)]


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("number out of range")
    return value


LENIENT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)
"""The standard library's reader, which can also read a value inside a longer text; without its NaN and infinities."""
LAX = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, strict=False)
"""Likewise, and allows line breaks inside strings."""
