"""What pydantic finds wrong, as sentences in plain words that say what to change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from fanout.api.base import Fault
from fanout.api.schema import Schema
from fanout.api.spelling import closest, dotted, schema_at, unknown_field

# What the patterns of the models mean; a test checks that none is missing.
PATTERNS = {
    r"^[0-9]+(\.[0-9]{1,9})?$": 'must be an amount of money as a text of digits, such as "0.15"',
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$": "must be lower-case letters, digits and hyphens, such as my-name",
    r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$": "must be lower-case letters, digits, hyphens and dots, such as my-name",
    r"^[-._a-zA-Z0-9]+$": "must be letters, digits, hyphens, dots and underscores, such as api-key",
    r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*$": "must be names joined by dots, such as value.label",
    r"^(https://[^\s/]+|file://)\S*$": "must begin with https:// or file:// and have no spaces",
    r"^https?://[^\s/?#]+[^\s?#]*$": "must be a base URL without ? and #, such as https://api.example/v1",
    r"^[A-Za-z0-9-]+$": "must be letters, digits and hyphens, such as api-key",
    r"^[^\x00-\x08\x0a-\x1f\x7f]*$": "must be one line without control characters",
    r"^[A-Z]{3}$": "must be three capitals, such as USD",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "must be a name of letters, digits and underscores",
}
_TYPES = {
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of fields",
}


def fault(error: ErrorDetails, root: Schema) -> Fault:
    """One error of pydantic in a document of which `root` is the schema."""
    location = error["loc"]
    if location and location[-1] == "[key]":
        return Fault(dotted(location[:-1]), f"this name {_sentence(error, {})}")
    if error["type"] == "extra_forbidden":
        return Fault(dotted(location), unknown_field(location, root))
    schema = schema_at(root, location)
    if error["type"] == "missing":
        return Fault(dotted(location), f"is missing: {schema.get('description', 'give it')}")
    return Fault(dotted(location), _sentence(error, schema))


def _sentence(error: ErrorDetails, schema: Schema) -> str:
    kind, context, given = error["type"], error.get("ctx", {}), error["input"]
    match kind:
        case "enum" | "literal_error":
            said = _not_one_of(given, schema)
        case "greater_than_equal" | "less_than_equal":
            said = _out_of_bounds(schema, context)
        case "string_pattern_mismatch":
            said = PATTERNS.get(context["pattern"], f"must match {context['pattern']}")
        case "too_long" | "string_too_long":
            what = "characters" if kind == "string_too_long" else "entries"
            said = f"is too long: at most {context['max_length']} {what}"
        case "too_short" | "string_too_short":
            least = context["min_length"]
            said = "must not be empty" if least == 1 else f"is too short: at least {least} characters"
        case "value_error":
            said = str(context["error"])
        case _:
            said = _wrong_type(given, schema) or error["msg"]
    return said


def _wrong_type(given: Any, schema: Schema) -> str:
    wanted = schema.get("type", "")
    if wanted not in _TYPES:
        return ""
    if given is None:
        return f"has no value: give {_TYPES[wanted]}, or leave it out"
    hint = ""
    if wanted == "string" and isinstance(given, bool | int | float):
        hint = ": quote it"
    elif wanted == "array":
        hint = ": write [a, b], or - before each entry"
    elif wanted == "object" and schema.get("properties"):
        hint = " " + ", ".join(list(schema["properties"])[:8])
    elif wanted in ("integer", "boolean") and isinstance(given, str):
        hint = ": write it without quotes"
    return f"must be {_TYPES[wanted]}, not {_described(given)}{hint}".replace(" of fields,", ",")


def _described(given: Any) -> str:
    names = {bool: "true or false", int: "a number", float: "a fraction", str: "a text", list: "a list"}
    return names.get(type(given), "a mapping")


def _not_one_of(given: Any, schema: Schema) -> str:
    choices = [str(each) for each in schema.get("enum", ())]
    wanted = " or ".join(filter(None, (", ".join(choices[:-1]), choices[-1]))) if choices else "another value"
    if not isinstance(given, str) or len(given) > 40:
        return f"must be {wanted}"
    close = closest(given, choices)
    hint = f"did you mean {close}? It" if close else "it"
    return f"{given!r} is not known here: {hint} must be {wanted}"


def _out_of_bounds(schema: Schema, context: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum", context.get("ge")), schema.get("maximum", context.get("le"))
    if low is not None and high is not None:
        return f"must be from {low} to {high}"
    return f"must be at least {low}" if low is not None else f"must be at most {high}"
