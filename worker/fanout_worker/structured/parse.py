"""An answer's text as a JSON value that is accepted, or the fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fanout_worker.json_body import JsonError, read_json, write_json
from fanout_worker.structured.repair import candidates
from fanout_worker.structured.schema import Schema


class Parsed(NamedTuple):
    """The value, or what is wrong with the text."""

    value: Any
    fault: str
    """Sentences that a model can act on; empty where there is a value."""


def parse(text: str, fault_of: Callable[[Any], str]) -> Parsed:
    """Read `text` as JSON, leniently where that is safe. `fault_of` says what is wrong with a value, or nothing.

    A text that is JSON is judged as it is. Otherwise the values found in it are, and exactly one of them must pass.
    """
    try:
        value = read_json(text)
    except JsonError as exc:
        return _parse_within(text, fault_of, str(exc))
    return Parsed(value, fault_of(value))


def parse_with_schema(text: str, schema: Schema) -> tuple[bytes, str]:
    """The value as compact JSON, or b"" and the fault."""
    parsed = parse(text, schema.fault)
    if parsed.fault:
        return b"", parsed.fault
    try:
        return write_json(parsed.value), ""
    except JsonError as exc:
        return b"", f"the answer cannot be kept: {exc}"


def _parse_within(text: str, fault_of: Callable[[Any], str], not_json: str) -> Parsed:
    faults: list[str] = []
    passed: list[Any] = []
    for value in candidates(text):
        fault = fault_of(value)
        if fault:
            faults.append(fault)
        elif value not in passed:
            passed.append(value)
    if len(passed) == 1:
        return Parsed(passed[0], "")
    if passed:
        return Parsed(None, "the answer holds several JSON values: give exactly one, and nothing else")
    if faults:
        return Parsed(None, faults[-1])
    return Parsed(None, f"the answer is not JSON ({not_json}): give the JSON value and nothing else")
