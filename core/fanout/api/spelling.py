"""What was probably meant by a word that is not known: where a field belongs, and how it is spelled."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from fanout.api.base import join
from fanout.api.schema import Schema

Location = tuple[str | int, ...]


def unknown_field(location: Location, root: Schema) -> str:
    """What to do about a field that is not one: where it belongs, how it is spelled, or what there is."""
    name = str(location[-1])
    properties = schema_at(root, location[:-1]).get("properties", {})
    for child, schema in properties.items():
        if name in _fields_of(schema):
            return f"is not a field here: it belongs into {child}"
    for depth in range(len(location) - 2, 0, -1):
        if name in schema_at(root, location[:depth]).get("properties", {}):
            return f"is not a field here: it belongs into {dotted(location[:depth])} (check the indentation)"
    close = closest(name, list(properties))
    if close:
        return f"is not a field: did you mean {close}?"
    return "is not a field" + (f": there are {', '.join(sorted(properties))}" if properties else "; leave it out")


def _fields_of(schema: Schema) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = schema.get("properties") or schema.get("items", {}).get("properties", {})
    return fields


def closest(word: str, known: list[str]) -> str:
    """The known word that was probably meant, whatever its case and underscores; empty where there is none."""
    plain = {each.replace("_", "").lower(): each for each in known}
    found = difflib.get_close_matches(word.replace("_", "").replace("-", "").lower(), plain, n=1, cutoff=0.65)
    return plain[found[0]] if found else ""


def schema_at(root: Schema, location: Location) -> Schema:
    """The schema of what is at `location` within `root`; empty where the form is free."""
    node = root
    for part in location:
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            node = node.get("properties", {}).get(part) or node.get("additionalProperties", {})
    return node


def dotted(location: Location) -> str:
    """("spec", "branches", 0) as spec.branches[0]."""
    path = ""
    for part in location:
        path = f"{path}[{part}]" if isinstance(part, int) else join(path, part)
    return path
