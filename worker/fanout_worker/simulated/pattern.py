"""A string that matches a regular expression, for the patterns that schemas have; unusual ones get none."""

from __future__ import annotations

import importlib
import re
import string
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from fanout_worker.simulated.dice import Dice

# Python's own parser of expressions: not a public module, but there in every version we run on, and tests would say.
_parser: Any = importlib.import_module("re._parser")

_LETTERS = string.ascii_lowercase
_PRINTABLE = string.ascii_lowercase + string.ascii_uppercase + string.digits + " _-.,:;/!?()[]{}<>@#$%&*+='\"\\|^~`\t\n"
_CATEGORIES = {
    "CATEGORY_DIGIT": string.digits,
    "CATEGORY_WORD": string.ascii_letters + string.digits + "_",
    "CATEGORY_SPACE": " ",
}


def matching(pattern: str, least: int, most: int | None, dice: Dice) -> str | None:
    """A string of `least` to `most` characters in which `pattern` is found; None where a few tries give none."""
    parsed = _parse(pattern)
    if parsed is None:
        return None
    expression, tree = parsed
    # Repetitions get longer from try to try, until the length asked for is met.
    for extra in (3, 1, 0, 8, least, 2 * least, 0, 1, 2, 4, 16, 32):
        text = _Writer(dice, min(extra, 10_000)).write(tree)
        if len(text) < least:
            text += "".join(dice.pick(_LETTERS) for _ in range(least - len(text)))
        if most is not None:
            text = text[:most]
        if len(text) >= least and expression.search(text):
            return text
    return None


@lru_cache(maxsize=256)
def _parse(pattern: str) -> tuple[re.Pattern[str], Any] | None:
    try:
        return re.compile(pattern), _parser.parse(pattern)
    except (re.error, OverflowError, RecursionError):
        return None


class _Writer:
    """Walks a parsed expression and writes what it matches."""

    def __init__(self, dice: Dice, extra: int) -> None:
        self._dice = dice
        self._extra = extra
        self._groups: dict[int, str] = {}

    def write(self, tree: Any) -> str:
        return "".join(self._one(str(op), args) for op, args in tree)

    def _one(self, op: str, args: Any) -> str:
        writer = _WRITERS.get(op)
        return "" if writer is None else writer(self, args)  # what is not there asserts and takes no characters

    def literal(self, code: int) -> str:
        return chr(code)

    def any(self, _: Any) -> str:
        return self._dice.pick(_LETTERS)

    def not_literal(self, code: int) -> str:
        return self._dice.pick(_LETTERS.replace(chr(code), ""))

    def one_of(self, members: Any) -> str:
        found: list[str] = []
        negated = False
        for op, args in members:
            if str(op) == "NEGATE":
                negated = True
            else:
                found.extend(_members(str(op), args))
        if negated:
            excluded = set(found)
            found = [c for c in _LETTERS if c not in excluded] or [c for c in _PRINTABLE if c not in excluded]
        return self._dice.pick(found) if found else ""

    def branch(self, args: Any) -> str:
        return self.write(self._dice.pick(args[1]))

    def group(self, args: Any) -> str:
        text = self.write(args[-1])
        if args[0] is not None:
            self._groups[args[0]] = text
        return text

    def atomic(self, args: Any) -> str:
        return self.write(args)

    def repeat(self, args: Any) -> str:
        low, high, tree = args
        count = self._dice.between(low, min(int(high), low + self._extra))
        return "".join(self.write(tree) for _ in range(count))

    def reference(self, group: int) -> str:
        return self._groups.get(group, "")


def _members(op: str, args: Any) -> list[str]:
    if op == "LITERAL":
        return [chr(args)]
    if op == "RANGE":
        # A wide range (all of Unicode beyond ASCII) is sampled from its beginning.
        return [chr(code) for code in range(args[0], min(args[1], args[0] + 255) + 1)]
    name = str(args)
    if (kept := name.replace("_NOT_", "_")) != name:
        return [c for c in _PRINTABLE if c not in _CATEGORIES.get(kept, "")]
    return list(_CATEGORIES.get(name, ""))


_WRITERS: dict[str, Callable[[_Writer, Any], str]] = {
    "LITERAL": _Writer.literal,
    "NOT_LITERAL": _Writer.not_literal,
    "ANY": _Writer.any,
    "IN": _Writer.one_of,
    "BRANCH": _Writer.branch,
    "SUBPATTERN": _Writer.group,
    "ATOMIC_GROUP": _Writer.atomic,
    "MAX_REPEAT": _Writer.repeat,
    "MIN_REPEAT": _Writer.repeat,
    "POSSESSIVE_REPEAT": _Writer.repeat,
    "GROUPREF": _Writer.reference,
}
