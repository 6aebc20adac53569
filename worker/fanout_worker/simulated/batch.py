"""Several tasks in one chat request: items in tags, answered one by one as if each had been asked alone."""

from __future__ import annotations

import re
from typing import Any

_ITEM = re.compile(r'<item id="([^"]{1,20})">(.*?)</item>', re.DOTALL)
_MARK = "<item id="


def batched_items(text: str, schema: Any) -> list[tuple[str, str]] | None:
    """(id, text) of each item, if the request is a batch: both the prompt and the schema say so; else None."""
    entry = _entry(schema)
    if entry is None or _MARK not in text:
        return None
    ids = entry["properties"]["id"]
    allowed = ids.get("enum") if isinstance(ids, dict) else None
    # A closing tag in the text stands escaped there: a single prompt would have it as it is.
    items = [(name, item.replace("&lt;/item", "</item")) for name, item in _ITEM.findall(text)]
    known = [item for item in items if allowed is None or item[0] in allowed]
    return known or None


def value_schema(schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of one item's value, as it would be asked for alone; None: the value is a text."""
    entry = _entry(schema)
    value = entry["properties"]["value"] if entry is not None else None
    if not isinstance(value, dict) or value == {"type": "string"}:
        return None
    # Its references are told from the root.
    return value | {name: schema[name] for name in ("$defs", "definitions") if name in schema}


def without_batch_instructions(system: str) -> str:
    """The system message that a single request would have: the paragraph on how items are marked is left out."""
    if _MARK not in system:
        return system
    return "\n\n".join(part for part in system.split("\n\n") if _MARK not in part)


def _entry(schema: Any) -> dict[str, Any] | None:
    """The schema of {"id": …, "value": …}, if `schema` is a batch's."""
    try:
        entry = schema["properties"]["items"]["items"]
        found = {"id", "value"} <= entry["properties"].keys()
    except (KeyError, TypeError, AttributeError):
        return None
    return entry if found else None
