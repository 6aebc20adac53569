"""One flat JSON Schema out of $ref, allOf, anyOf and oneOf, as far as an instance needs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from fanout_worker.simulated.dice import Dice

Schema = Any
"""A JSON Schema: an object, or true or false."""

_APPLICATORS = ("$ref", "allOf", "anyOf", "oneOf")
_MAX_REFERENCES = 48


def flatten(schema: Schema, root: Schema, dice: Dice, *, shallow: bool = False, references: int = 0) -> Schema:
    """`schema` without references and alternatives: of those one is chosen that agrees with the rest.

    `shallow` prefers alternatives that need no further reference, so that recursive schemas come to an end.
    False: nothing fits.
    """
    if not isinstance(schema, dict):
        return schema is not False and {}
    if not any(name in schema for name in _APPLICATORS):
        return schema
    if references > _MAX_REFERENCES:
        return {}
    flat: Schema = {name: value for name, value in schema.items() if name not in _APPLICATORS}

    def flattened(part: Schema) -> Schema:
        return flatten(part, root, dice, shallow=shallow, references=references + 1)

    for part in _all_of(schema, root):
        flat = merge(flat, flattened(part))
    for name in ("anyOf", "oneOf"):
        if name in schema:
            flat = _first_that_agrees(flat, _in_order(schema[name], dice, shallow=shallow), flattened)
    return flat


def _all_of(schema: dict[str, Any], root: Schema) -> Iterator[Schema]:
    if "$ref" in schema:
        yield _resolve(schema["$ref"], root)
    yield from schema.get("allOf", ())


def _resolve(reference: str, root: Schema) -> Schema:
    """A local reference's target; anything else asks for nothing."""
    if not reference.startswith("#"):
        return {}
    target = root
    for part in reference[1:].split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, dict):
            target = target.get(key, {})
        elif isinstance(target, list) and key.isdigit() and int(key) < len(target):
            target = target[int(key)]
        else:
            return {}
    return target


def _in_order(alternatives: list[Schema], dice: Dice, *, shallow: bool) -> list[Schema]:
    start = dice.below(len(alternatives))
    turned = alternatives[start:] + alternatives[:start]
    return sorted(turned, key=_weight) if shallow else turned


def _weight(schema: Schema) -> int:
    """How likely a schema leads deeper."""
    if not isinstance(schema, dict):
        return 0
    if any(name in schema for name in _APPLICATORS):
        return 2
    return int("properties" in schema or "items" in schema)


def _first_that_agrees(flat: Schema, alternatives: list[Schema], flattened: Callable[[Schema], Schema]) -> Schema:
    for alternative in alternatives:
        if (merged := merge(flat, flattened(alternative))) is not False:
            return merged
    return False


def merge(a: Schema, b: Schema) -> Schema:
    """A schema for what both ask for; False where they cannot agree. Both are flat."""
    if a is False or b is False:
        return False
    merged = dict(a)
    for name, value in b.items():
        merged[name] = _COMBINE.get(name, _last)(merged[name], value) if name in merged else value
    if "properties" in a or "properties" in b:
        merged["properties"] = _properties(a, b)
    if "prefixItems" in a and "prefixItems" in b:
        merged["prefixItems"] = _prefix(a, b)
    return False if any(merged.get(name, 1) in ([], _CONFLICT) for name in ("type", "enum", "const")) else merged


_CONFLICT = object()


def _last(_: Any, b: Any) -> Any:
    return b


def _both(a: Schema, b: Schema) -> Schema:
    return a if a == b else {"allOf": [a, b]}


def _types(a: str | list[str], b: str | list[str]) -> list[str]:
    left = [a] if isinstance(a, str) else a
    right = [b] if isinstance(b, str) else b
    found = [name for name in left if name in right]
    if "integer" not in found and (
        ("integer" in left and "number" in right) or ("integer" in right and "number" in left)
    ):
        found.append("integer")
    return found


def _common(a: list[Any], b: list[Any]) -> list[Any]:
    return [value for value in a if value in b]


def _same(a: Any, b: Any) -> Any:
    return a if a == b else _CONFLICT


def _multiple(a: float, b: float) -> float:
    return math.lcm(a, b) if isinstance(a, int) and isinstance(b, int) else max(a, b)


def _properties(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Schema]:
    """Every property of either; where only one names it, the other's additionalProperties counts."""
    left, right = a.get("properties", {}), b.get("properties", {})
    merged: dict[str, Schema] = {}
    for name in [*left, *(name for name in right if name not in left)]:
        one = left[name] if name in left else a.get("additionalProperties", True)
        other = right[name] if name in right else b.get("additionalProperties", True)
        if one is False or other is False:
            merged[name] = False
        elif one is True or other is True:
            merged[name] = other if one is True else one
        else:
            merged[name] = _both(one, other)
    return merged


def _prefix(a: dict[str, Any], b: dict[str, Any]) -> list[Schema]:
    left, right = a["prefixItems"], b["prefixItems"]
    length = max(len(left), len(right))
    left = left + [a.get("items", True)] * (length - len(left))
    right = right + [b.get("items", True)] * (length - len(right))
    return [_both(one, other) for one, other in zip(left, right, strict=True)]


_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "type": _types,
    "enum": _common,
    "const": _same,
    "required": lambda a, b: [*a, *(name for name in b if name not in a)],
    "multipleOf": _multiple,
    "items": _both,
    "additionalProperties": _both,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
    "uniqueItems": lambda a, b: a or b,
}
