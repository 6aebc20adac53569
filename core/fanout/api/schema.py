"""Structural OpenAPI v3 schemas of the models, as a CRD wants them: the one description of what a manifest may hold.

Pydantic's JSON Schema is close. What differs: Kubernetes has no references, no anyOf with null and no schema for the
keys of a map; it fills in the defaults of nested objects only where the object itself has one; what has no form is
marked.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any, cast

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, NoDefault
from pydantic_core import core_schema

from fanout.api.base import Model, Rule

Schema = dict[str, Any]

# What both languages have, with the same meaning.
_KEPT = frozenset(
    {
        "type", "description", "default", "enum", "required", "minimum", "maximum", "minLength", "maxLength", "pattern",
        "minItems", "maxItems", "minProperties", "maxProperties", "x-kubernetes-validations", "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
    }
)  # fmt: skip
_DROPPED = frozenset({"title", "propertyNames"})
FREE_FORM = "x-kubernetes-preserve-unknown-fields"


def structural(model: type[Model]) -> Schema:
    """The schema of `model`, without references; the caller may change it."""
    return copy.deepcopy(_structural(model))


@cache
def _structural(model: type[Model]) -> Schema:
    generated = model.model_json_schema(schema_generator=_Generator)
    return _inlined(generated, generated.get("$defs", {}))


def validations(rules: tuple[Rule, ...]) -> list[Schema]:
    """The rules that the API server can check, as x-kubernetes-validations."""
    return [
        {"rule": rule.cel, "message": rule.message} | ({"fieldPath": f".{rule.field}"} if rule.field else {})
        for rule in rules
        if rule.cel
    ]


class _Generator(GenerateJsonSchema):
    """Adds what pydantic leaves out: the defaults that factories make, and the rules."""

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        factory = schema.get("default_factory")
        if factory is None:
            return schema.get("default", NoDefault)
        made = cast("Any", factory)()
        # In full, though the API server would go on with the defaults of the fields: it checks rules on the default as
        # it stands here.
        return made.model_dump(mode="json", by_alias=True, exclude_none=True) if isinstance(made, Model) else made

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        if rules := validations(cast("type[Model]", schema["cls"]).rules):
            result["x-kubernetes-validations"] = rules
        return result


def _inlined(node: Schema, defs: dict[str, Schema]) -> Schema:
    node = _without_null(_resolved(node, defs), defs)
    result: Schema = {}
    for key, value in node.items():
        if key == "description":
            result[key] = " ".join(value.split())
        elif key == "const":
            result["enum"] = [value]
        elif key == "properties":
            result[key] = {name: _inlined(each, defs) for name, each in value.items()}
        elif key == "items":
            result[key] = _inlined(value, defs)
        elif key in ("additionalProperties", "patternProperties"):
            result |= _map_values(key, value, defs)
        elif key in _KEPT:
            result[key] = value
        elif key not in _DROPPED and key != "$defs":
            message = f"{key} has no counterpart in a CRD: teach fanout.api.schema about it"
            raise TypeError(message)
    if "type" not in result:
        result[FREE_FORM] = True
    return result


def _map_values(key: str, value: Any, defs: dict[str, Schema]) -> Schema:
    if value is False:
        return {}  # a CRD knows only the fields it names
    if key == "patternProperties":
        (value,) = value.values()
    return {"additionalProperties": _inlined({} if value is True else value, defs)}


def _resolved(node: Schema, defs: dict[str, Schema]) -> Schema:
    """`node` with its reference followed; what stands beside the reference wins (a field's own description)."""
    if "$ref" not in node:
        return node
    target = defs[node["$ref"].removeprefix("#/$defs/")]
    return _resolved({**target, **{k: v for k, v in node.items() if k != "$ref"}}, defs)


def _without_null(node: Schema, defs: dict[str, Schema]) -> Schema:
    """An optional field is one that may be absent: Kubernetes drops nulls."""
    if "anyOf" not in node:
        return node
    (kind,) = [each for each in node["anyOf"] if each.get("type") != "null"]
    beside = {k: v for k, v in node.items() if k != "anyOf" and not (k == "default" and v is None)}
    return {**_resolved(kind, defs), **beside}
