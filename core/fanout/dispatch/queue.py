"""A job's calls on their way out: a short buffer per lane over the ledger's long queue, and fair turns between jobs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from fanout.dispatch.lane import Lane
from fanout.ledger.calls import Call


@dataclass(frozen=True)
class Prepared:
    """A call that may be sent, with its tasks' packed requests."""

    call: Call
    requests: list[bytes]
    weight: int
    """Estimated input tokens."""


@dataclass
class LaneQueue:
    """What of a lane is in memory."""

    lane: Lane
    buffer: deque[Prepared] = field(default_factory=deque)
    stale: bool = True
    """The ledger may hold calls that the buffer does not."""

    @property
    def size(self) -> int:
        """Bytes of requests in the buffer."""
        return sum(len(request) for prepared in self.buffer for request in prepared.requests)


@dataclass
class JobQueue:
    """A job, as the dispatcher sees it."""

    job: int
    name: str
    lanes: list[LaneQueue]
    parallelism: int | None
    in_flight: int = 0
    due: list[float] = field(default_factory=list)
    """Heap of Unix times at which calls that wait may be sent."""
    next_lane: int = 0

    @property
    def full(self) -> bool:
        """Whether the job's own cap is reached."""
        return self.parallelism is not None and self.in_flight >= self.parallelism

    def turns(self) -> list[LaneQueue]:
        """The lanes in the order of their turns: reduce steps first, since they lead to the end, then round robin."""
        count = len(self.lanes)
        order = [self.lanes[(self.next_lane + i) % count] for i in range(count)]
        return sorted(order, key=lambda q: -q.lane.stage)
