"""When a job is done, and what counts as success."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fanout.api.base import Model, Percent


class OnShortfall(StrEnum):
    """What happens when fewer chunks succeed than minSuccessPercent asks for."""

    PARTIAL = "Partial"
    FAIL = "Fail"


class PartialAfter(Model):
    """When to stop waiting for stragglers: once both hold."""

    timeout_seconds: Annotated[int, Field(ge=1, le=2_592_000)]
    """Seconds since the job's first call."""
    success_percent: Annotated[int, Field(ge=1, le=100)] = 80
    """Share of the planned chunks that has succeeded."""


class Abort(Model):
    """When something is wrong with all of it: stop before more is spent."""

    failed_percent: Annotated[int, Field(ge=1, le=100)] = 50
    """Share of the settled chunks that failed."""
    after_chunks: Annotated[int, Field(ge=1)] = 100
    """Not before this many chunks have settled. Throttling never counts."""


class Completion(Model):
    """When a job is done, and what counts as success."""

    min_success_percent: Percent = 100
    """Share of the chunks that must succeed for Complete."""
    on_shortfall: OnShortfall = OnShortfall.PARTIAL
    """Less than that: Partial reduces what there is and ends as Complete with reason Partial; Fail ends as Failed."""
    partial_after: PartialAfter | None = None
    """When to stop waiting for stragglers."""
    deadline_seconds: Annotated[int, Field(ge=1, le=31_536_000)] | None = None
    """Seconds since the job's start after which it ends with what there is."""
    abort: Abort = Field(default_factory=Abort)
    """When to stop early because most chunks fail."""
