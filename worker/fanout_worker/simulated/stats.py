"""What a simulated model has served, in its own view: benchmarks compare it with what a client reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any


class Stats:
    """Counts since the start or the last reset. Times are the clock's seconds: only differences mean something."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Starts again; calls in flight stay in flight."""
        self._by_status: Counter[int] = Counter()
        self._cancelled = 0
        self._max_in_flight = self.in_flight
        self._prompt_tokens = 0
        self._completion_tokens = 0
        self._first: float | None = None
        self._last: float | None = None

    def arrived(self) -> None:
        """A request has come."""
        if self._first is None:
            self._first = self._clock()

    def entered(self) -> None:
        """It has been let in."""
        self.in_flight += 1
        self._max_in_flight = max(self._max_in_flight, self.in_flight)

    def left(self) -> None:
        """It has ended, in whatever way."""
        self.in_flight -= 1

    def answered(self, status: int) -> None:
        """A response goes out."""
        self._by_status[status] += 1
        self._last = self._clock()

    def cancelled(self) -> None:
        """The client has gone before its answer."""
        self._cancelled += 1
        self._last = self._clock()

    def used(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Tokens of an answer."""
        self._prompt_tokens += prompt_tokens
        self._completion_tokens += completion_tokens

    def snapshot(self) -> dict[str, Any]:
        """The counts as JSON."""
        span = self._last - self._first if self._first is not None and self._last is not None else 0.0
        return {
            "requests": self._by_status.total() + self._cancelled,
            "byStatus": {str(status): count for status, count in sorted(self._by_status.items())},
            "cancelled": self._cancelled,
            "inFlight": self.in_flight,
            "maxInFlight": self._max_in_flight,
            "promptTokens": self._prompt_tokens,
            "completionTokens": self._completion_tokens,
            "firstRequestSeconds": self._first,
            "lastResponseSeconds": self._last,
            "spanSeconds": span,
        }
