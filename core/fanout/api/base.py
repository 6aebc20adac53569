"""What every resource model is made of: the base class, rules that Python and CEL share, and bounded types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

GROUP = "fanout.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True)
class Rule:
    """One constraint over a model's fields, told once for both who check it.

    `cel` goes into the CRD (x-kubernetes-validations), where the API server checks it; `holds` is the same in Python,
    for `fanout run`. `message` says what to change. A rule without `holds` compares with the old object (`oldSelf`),
    which only the API server has. A rule with an empty `cel` is one that only Python can check, and is not in the CRD.

    CEL's type checker does not see fields of free form (JsonObject, a list of Any). They are reached by `dyn(self)`,
    which is resolved when the rule runs: `has(dyn(self).items)`.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None
    field: str = ""  # the field at fault, relative to the model; empty: the model itself


class Model(BaseModel):
    """Base of all resource models: camelCase in manifests, unknown fields refused, immutable."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        defer_build=True,  # a command builds the validators that it uses, not all
    )
    rules: ClassVar[tuple[Rule, ...]] = ()


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a manifest: where, and what to change."""

    path: str
    message: str


def broken_rules(model: Model, path: str = "") -> Iterator[Fault]:
    """Every rule that `model` or a model inside it breaks, each with its path ("spec.map.branches[0].chat")."""
    for rule in model.rules:
        if rule.holds is not None and not rule.holds(model):
            yield Fault(join(path, rule.field), rule.message)
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        here = join(path, info.alias or name)
        if isinstance(value, Model):
            yield from broken_rules(value, here)
        elif isinstance(value, list | tuple):
            for i, entry in enumerate(value):
                if isinstance(entry, Model):
                    yield from broken_rules(entry, f"{here}[{i}]")


def join(path: str, field: str) -> str:
    """The path of `field` within `path`."""
    return f"{path}.{field}" if path and field else path or field


def _is_money(value: str) -> str:
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise ValueError('write an amount of money as a string of digits, such as "0.15"') from None
    if not amount.is_finite() or amount < 0:
        raise ValueError('write an amount of money as a string of digits, such as "0.15"')
    return value


# Kubernetes wants no floats in a spec: they do not survive every JSON library.
Money = Annotated[str, StringConstraints(max_length=24, pattern=r"^[0-9]+(\.[0-9]{1,9})?$"), AfterValidator(_is_money)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
FieldPath = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_][A-Za-z0-9_-]*)*$"
    ),
]
# 64 KiB: a prompt longer than that is a document and belongs into the input.
Template = Annotated[str, StringConstraints(max_length=65536)]
Percent = Annotated[int, Field(ge=0, le=100)]
# JSON of any form. The bound keeps CEL's cost estimate finite where a rule compares one.
JsonObject = Annotated[dict[str, Any], Field(max_length=256)]


def keyed_by(field: str) -> dict[str, Any]:
    """Schema of a list whose entries are told apart by `field`: it is unique, and kubectl apply merges them by it."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [field]}


def one_of(model: Model, *fields: str) -> bool:
    """Whether exactly one of `fields` is set."""
    return sum(getattr(model, f) is not None for f in fields) == 1
