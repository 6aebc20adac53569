"""When a job stops and how it ends: the table of endings (design.md §4), as pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from fanout.api.completion import Completion, OnShortfall
from fanout.api.status import Reason
from fanout.ledger.jobs import Ending


@dataclass(frozen=True)
class Counts:
    """Chunks by outcome."""

    planned: int
    succeeded: int
    failed: int
    skipped: int = 0

    @property
    def settled(self) -> int:
        return self.succeeded + self.failed + self.skipped


@dataclass(frozen=True)
class Elapsed:
    """Seconds since the job began, and since its first call (None: not made yet)."""

    since_start: float
    since_first_call: float | None


def early_stop(policy: Completion, counts: Counts, elapsed: Elapsed, *, planned: bool) -> Ending | None:
    """Why the job has to stop before all its chunks are settled; None: it goes on."""
    tried = counts.succeeded + counts.failed
    if tried >= policy.abort.after_chunks and counts.failed * 100 >= policy.abort.failed_percent * tried:
        return Ending(
            Reason.ABORTED,
            f"{counts.failed} of the first {tried} chunks failed: something is wrong with all of it "
            f"(completion.abort: {policy.abort.failed_percent} % after {policy.abort.after_chunks} chunks)",
        )
    if policy.deadline_seconds is not None and elapsed.since_start >= policy.deadline_seconds:
        return Ending(
            Reason.DEADLINE_EXCEEDED, f"not done within {policy.deadline_seconds} s (completion.deadlineSeconds)"
        )
    after = policy.partial_after
    if (
        after is not None
        and planned
        and elapsed.since_first_call is not None
        and elapsed.since_first_call >= after.timeout_seconds
        and counts.succeeded * 100 >= after.success_percent * counts.planned
    ):
        return Ending(
            Reason.PARTIAL,
            f"{counts.succeeded} of {counts.planned} chunks have succeeded after {after.timeout_seconds} s "
            "(completion.partialAfter)",
        )
    return None


def next_check(policy: Completion, elapsed: Elapsed) -> float | None:
    """Seconds until time alone may stop the job; None: never."""
    waits = []
    if policy.deadline_seconds is not None:
        waits.append(policy.deadline_seconds - elapsed.since_start)
    if policy.partial_after is not None and elapsed.since_first_call is not None:
        wait = policy.partial_after.timeout_seconds - elapsed.since_first_call
        if wait > 0:  # after it, each success is a reason to look again
            waits.append(wait)
    return max(0.0, min(waits)) if waits else None


def final(policy: Completion, counts: Counts, stop: Ending | None) -> Ending:
    """How a job ends whose chunks are all settled. Reasons Succeeded, Partial and DeadlineExceeded mean Complete."""
    said = f"{counts.succeeded} of {counts.planned} chunks succeeded"
    if stop is not None and stop.reason == Reason.ABORTED:
        return stop
    if counts.planned and not counts.succeeded:
        return Ending(Reason.NO_SUCCESS, said if stop is None else f"{said}: {stop.message}")
    if stop is not None:
        return stop
    if counts.succeeded * 100 >= policy.min_success_percent * counts.planned:
        return Ending(Reason.SUCCEEDED, said if counts.planned else "the input has no items")
    asked = f"{said}; completion.minSuccessPercent asks for {policy.min_success_percent} %"
    return Ending(Reason.SHORTFALL if policy.on_shortfall == OnShortfall.FAIL else Reason.PARTIAL, asked)


COMPLETE = frozenset({Reason.SUCCEEDED, Reason.PARTIAL, Reason.DEADLINE_EXCEEDED})
"""Reasons of endings with an output."""
