"""A plain value as a resource, or every fault in it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from fanout.api.base import Fault, Model, broken_rules, join
from fanout.api.schema import structural
from fanout.api.wording import fault

M = TypeVar("M", bound=Model)


def read(model: type[M], value: Any) -> tuple[M | None, list[Fault]]:
    """`value` as a `model`, or every fault in it: wrong fields, and the rules that can be checked in spite of them."""
    made, faults = _validated(model, value)
    if made is not None:
        faults = list(broken_rules(made))
        return (None if faults else made), faults
    return None, [*faults, *_rules_within(model, value, "")]


def _validated(model: type[M], value: Any) -> tuple[M | None, list[Fault]]:
    # From JSON, and strictly: what the API server would refuse ("5" or true for a number) is refused here too.
    text = json.dumps(value)
    try:
        return model.model_validate_json(text, strict=True, by_alias=True, by_name=False), []
    except ValidationError as error:
        schema = structural(model)
        found = error.errors(include_url=False)
        return None, [fault(each, schema) for each in found]


def _rules_within(model: type[Model], value: Any, path: str) -> Iterator[Fault]:
    """The broken rules of the parts of `value` that are sound in themselves."""
    if not isinstance(value, Mapping):
        return
    for name, info in model.model_fields.items():
        inner = _model_in(info.annotation)
        alias = info.alias or name
        if inner is None or alias not in value:
            continue
        part, here = value[alias], join(path, alias)
        parts = [(f"{here}[{i}]", p) for i, p in enumerate(part)] if isinstance(part, list) else [(here, part)]
        for inner_path, inner_value in parts:
            made, _ = _validated(inner, inner_value)
            if made is not None:
                yield from broken_rules(made, inner_path)
            else:
                yield from _rules_within(inner, inner_value, inner_path)


def _model_in(annotation: Any) -> type[Model] | None:
    """The model that a field holds: itself, in a list or optional."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)
