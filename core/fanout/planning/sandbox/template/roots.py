"""What a template may name, by the place where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

Roots = Mapping[str, frozenset[str] | None]
"""Each name and its attributes; None where those are not known beforehand, or it has none to check."""

Place = Literal["map", "system", "concat", "synthesize", "synthesizeSystem"]

_ITEM = frozenset({"id", "name", "index", "fields"})
_CHUNK = frozenset({"index", "count", "title"})
_BRANCH = frozenset({"name"})


def roots_of(place: Place, params: Iterable[str] = ()) -> Roots:
    """The names that a template knows. map: a branch's prompt, messages and input; system: a branch's system message."""
    known: dict[Place, dict[str, frozenset[str] | None]] = {
        "map": {"chunk": _CHUNK | {"text"}, "item": _ITEM, "branch": _BRANCH},
        "system": {"branch": _BRANCH},
        "concat": {"value": None, "chunk": _CHUNK, "item": _ITEM},
        "synthesize": {"parts": None, "level": None},
        "synthesizeSystem": {},
    }
    return {**known[place], "params": frozenset(params)}
