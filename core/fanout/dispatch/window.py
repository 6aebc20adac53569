"""An endpoint's window: how many more calls may be sent to it right now."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Worker:
    """A live worker, by its last heartbeat."""

    slots: int
    seen: float


@dataclass
class Window:
    """The calls in flight at an endpoint against what its concurrency and its live workers allow.

    A call is let out only into a free slot, so that published-and-unanswered never exceeds the concurrency. Times are the
    event loop's.
    """

    concurrency: int
    worker_timeout: float
    """Seconds without a heartbeat after which a worker's slots no longer count."""
    workers: dict[str, Worker] = field(default_factory=dict)
    in_flight: int = 0
    closed_until: float = 0.0
    """Throttled: nothing is sent before."""
    throttles: int = 0
    """Refusals since the last success: how long to wait where the endpoint does not say."""

    def heartbeat(self, worker: str, slots: int, now: float) -> None:
        """A worker lives. With no slots it is draining, and is forgotten."""
        if slots > 0:
            self.workers[worker] = Worker(slots, now)
        else:
            self.workers.pop(worker, None)

    def expire_workers(self, now: float) -> None:
        """Forget the workers that have not been heard of."""
        for name in [n for n, w in self.workers.items() if now - w.seen > self.worker_timeout]:
            del self.workers[name]

    @property
    def slots(self) -> int:
        """Calls the live workers could take, were they idle."""
        return sum(worker.slots for worker in self.workers.values())

    def free(self, now: float) -> int:
        """How many calls may be sent now."""
        if now < self.closed_until:
            return 0
        return max(0, min(self.concurrency, self.slots) - self.in_flight)

    def throttle(self, now: float, wait: float) -> None:
        """The endpoint asked for patience: send nothing for `wait` seconds."""
        self.closed_until = max(self.closed_until, now + wait)

    def limited_by(self, now: float) -> str | None:
        """Why nothing can be sent now, or None."""
        if now < self.closed_until:
            return "Throttled"
        if self.free(now) > 0:
            return None
        return "Workers" if self.slots < self.concurrency else "Concurrency"
