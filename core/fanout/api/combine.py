"""How one chunk's several answers become one."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fanout.api.base import Model, Rule


class CombineBy(StrEnum):
    """The strategy."""

    ALL = "All"
    FIRST = "First"


class Combine(Model):
    """How one chunk's several answers (branches, samples) become one."""

    rules = (
        Rule(
            "!has(self.minSucceeded) || self.by == 'All'",
            "minSucceeded goes with by: All; First needs one",
            lambda s: s.min_succeeded is None or s.by == CombineBy.ALL,
            field="minSucceeded",
        ),
    )

    by: CombineBy = CombineBy.ALL
    """All: an object by branch name (a list per branch where samples > 1). First: the first success; the others are
    cancelled."""
    min_succeeded: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """How many of a chunk's answers must succeed for the chunk to succeed. Unset: all."""
