"""A request's JSON Schema, checked once: what is asked of it again and again is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

# Keywords that an instance is not built by, so that it has to be looked at when it is done.
_TO_VERIFY = frozenset(
    {"oneOf", "not", "if", "uniqueItems", "contains", "patternProperties", "propertyNames", "dependentRequired"}
    | {"dependentSchemas", "dependencies", "pattern", "enum", "const", "multipleOf", "minProperties", "maxProperties"}
)


class CompiledSchema:
    """A schema and, where an instance can miss it, its validator."""

    def __init__(self, schema: Any) -> None:
        self.root = schema
        self._validator = None
        if _TO_VERIFY & set(_keywords(schema)):
            # With a registry of its own nothing is fetched for a reference to elsewhere.
            self._validator = Draft202012Validator(schema, registry=Registry())

    def accepts(self, value: Any) -> bool:
        """Whether `value` is an instance, as far as that is in doubt."""
        if self._validator is None:
            return True
        try:
            return self._validator.is_valid(value)
        except (Unresolvable, re.error, RecursionError, OverflowError):
            return True


def compiled(schema: Any) -> CompiledSchema:
    """The schema, ready for use. Raises SchemaError where it is none."""
    return _compile(msgspec.json.encode(schema))


@lru_cache(maxsize=512)
def _compile(encoded: bytes) -> CompiledSchema:
    schema = msgspec.json.decode(encoded)
    try:
        Draft202012Validator.check_schema(schema)
    except RecursionError as error:
        raise SchemaError("the schema is nested too deeply") from error
    return CompiledSchema(schema)


def _keywords(schema: Any) -> Iterator[str]:
    """Every key anywhere in the schema: property names too, which costs a needless check at worst."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
