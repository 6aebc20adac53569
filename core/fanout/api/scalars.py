"""What an unquoted word means in a manifest: null, true, a number or a text, as kubectl reads it."""

from __future__ import annotations

import math
import re
from typing import Any

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})
_FALSE = frozenset({"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*|0[0-7]+|0o[0-7]+|0x[0-9a-fA-F]+|0b[01]+)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_NUMBER = 64  # characters; Python's own limit for a decimal is far beyond what JSON readers agree on


class ScalarError(ValueError):
    """A word that is no value of a manifest. The message says what to change."""


def scalar(event: Any) -> Any:
    """The value of a YAML scalar event. Raises ScalarError."""
    if event.implicit[0]:
        return _plain(event.value)
    if event.tag not in (None, "!", "tag:yaml.org,2002:str"):
        message = f"a manifest has no tags: leave {event.tag} out"
        raise ScalarError(message)
    return event.value


def _plain(word: str) -> Any:
    if word in _NULLS:
        return None
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    if _NOT_FINITE.fullmatch(word) or (_FLOAT.fullmatch(word) and len(word) > _LONGEST_NUMBER):
        raise ScalarError("is not a number that JSON has: quote it if it is a text")
    if _INTEGER.fullmatch(word):
        return _integer(word)
    return _float(word) if _FLOAT.fullmatch(word) else word


def _integer(word: str) -> int:
    digits = word.replace("_", "")
    unsigned = digits.lstrip("+-")
    # 0755 is octal to kubectl; Python writes it 0o755.
    is_old_octal = len(unsigned) > 1 and unsigned.isdigit() and unsigned.startswith("0")
    value = int(digits, 8 if is_old_octal else 0)
    if not -(2**63) <= value < 2**63:
        raise ScalarError("is larger than 64 bits: quote it")
    return value


def _float(word: str) -> float:
    value = float(word.replace("_", ""))
    if not math.isfinite(value):
        raise ScalarError("is not a number that JSON has: quote it if it is a text")
    return value
