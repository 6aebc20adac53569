"""A valid instance of a JSON Schema, made of a prompt's words: the same for the same prompt and schema."""

from __future__ import annotations

from typing import Any

from fanout_worker.simulated.amounts import integer, number
from fanout_worker.simulated.dice import Dice
from fanout_worker.simulated.merge import Schema, flatten
from fanout_worker.simulated.prompt import Prompt
from fanout_worker.simulated.schema import CompiledSchema
from fanout_worker.simulated.strings import string

# Below this depth only what is required is made.
_DEEP = 4
# A schema that requires itself has no finite instance.
_DEEPEST = 40
_TRIES = 8
_MAX_ITEMS = 3
# A schema must not make a server run out of memory.
_MOST = 10_000

_TYPE_BY_KEYWORD = {
    **dict.fromkeys(("properties", "required", "additionalProperties", "minProperties", "patternProperties"), "object"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"), "array"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
}


def instance(compiled: CompiledSchema, prompt: Prompt) -> Any:
    """An instance of a schema. Best effort where there is none, or a few tries do not find it."""
    value: Any = None
    for attempt in range(_TRIES):
        value = _Builder(compiled.root, prompt, prompt.dice("instance", str(attempt))).value(compiled.root)
        if compiled.accepts(value):
            break
    return value


class _Builder:
    """Walks a schema and builds; every choice is taken from `dice`, in the schema's order."""

    def __init__(self, root: Schema, prompt: Prompt, dice: Dice) -> None:
        self._root = root
        self._prompt = prompt
        self._dice = dice

    def value(self, schema: Schema, name: str = "", depth: int = 0) -> Any:
        flat = depth <= _DEEPEST and flatten(schema, self._root, self._dice, shallow=depth >= _DEEP)
        if flat is False:
            return None
        if "const" in flat:
            return flat["const"]
        if "enum" in flat:
            return self._dice.pick(
                [v for v in flat["enum"] if _has_type(v, flat.get("type"))] or flat["enum"] or [None]
            )
        kind = self._type(flat)
        if kind == "object":
            return self._object(flat, depth)
        return self._array(flat, name, depth) if kind == "array" else self._scalar(kind, flat, name)

    def _type(self, flat: dict[str, Any]) -> str:
        kind: str | list[str] | None = flat.get("type")
        if isinstance(kind, str):
            return kind
        if isinstance(kind, list):
            # Null is the exception, not an answer: it is taken where nothing else is allowed.
            return self._dice.pick([name for name in kind if name != "null"] or kind)
        return next((_TYPE_BY_KEYWORD[key] for key in flat if key in _TYPE_BY_KEYWORD), "string")

    def _scalar(self, kind: str, flat: dict[str, Any], name: str) -> Any:
        if kind == "string":
            return string(flat, self._dice, self._prompt, name)
        if kind == "integer":
            return integer(flat, self._dice)
        if kind == "number":
            return number(flat, self._dice)
        return self._dice.below(2) == 1 if kind == "boolean" else None

    def _object(self, flat: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = flat.get("properties", {})
        required = flat.get("required", [])
        additional = flat.get("additionalProperties", True)
        most = int(flat.get("maxProperties", len(properties) + len(required)))
        # What is optional comes too, as models do it, while there is room.
        room = most - len(set(required)) if depth < _DEEP else 0
        value: dict[str, Any] = {}
        for name, schema in properties.items():
            if name not in required:
                if room <= 0 or schema is False:
                    continue
                room -= 1
            value[name] = self.value(schema, name, depth + 1)
        for name in required:
            if name not in value:
                value[name] = self.value(additional, name, depth + 1)
        self._fill(value, properties, additional, min(int(flat.get("minProperties", 0)), _MOST), depth)
        return value

    def _fill(
        self, value: dict[str, Any], properties: dict[str, Any], additional: Schema, least: int, depth: int
    ) -> None:
        for name, schema in properties.items():
            if len(value) < least and name not in value and schema is not False:
                value[name] = self.value(schema, name, depth + 1)
        number_of_name = 0
        while len(value) < least and additional is not False:
            number_of_name += 1
            name = f"property{number_of_name}"
            if name not in properties:
                value[name] = self.value(additional, name, depth + 1)

    def _array(self, flat: dict[str, Any], name: str, depth: int) -> list[Any]:
        prefix = flat.get("prefixItems", [])
        rest = flat.get("items", True)
        least = min(int(flat.get("minItems", 0)), _MOST)
        most = int(flat.get("maxItems", max(least, len(prefix), _MAX_ITEMS)))
        if rest is False:
            most = min(most, len(prefix))
        count = least if depth >= _DEEP else self._dice.between(min(least or 1, most), max(least, min(most, least + 2)))
        if prefix and depth < _DEEP:
            count = max(count, min(len(prefix), most))
        values: list[Any] = []
        for i in range(count):
            schema = prefix[i] if i < len(prefix) else rest
            entry = self.value(schema, name, depth + 1)
            if flat.get("uniqueItems"):
                entry = self._another(entry, values, schema, name, depth)
            values.append(entry)
        return values

    def _another(self, entry: Any, values: list[Any], schema: Schema, name: str, depth: int) -> Any:
        for _ in range(50):
            if entry not in values:
                break
            entry = self.value(schema, name, depth + 1)
        return entry


def _has_type(value: Any, kind: str | list[str] | None) -> bool:
    if kind is None:
        return True
    return any(_IS[name](value) for name in ([kind] if isinstance(kind, str) else kind))


_IS = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}
