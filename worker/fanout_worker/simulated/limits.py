"""The limits of a strict provider: requests and tokens over any 60 seconds, and calls at one moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

WINDOW_SECONDS = 60.0
# What is taken within this time is kept as one entry, which leaves with its last part: so memory is bounded (6,000
# entries), and the limit is still never exceeded.
_GRAIN_SECONDS = 0.01


class Window:
    """A sliding window: at most `limit` over any 60 seconds."""

    __slots__ = ("_entries", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._entries: deque[list[float]] = deque()  # [first taken, last taken, amount]

    def take(self, amount: int, now: float) -> None:
        """Records `amount` at `now`; the caller has asked `wait` first."""
        self.used += amount
        if self._entries and now - self._entries[-1][0] < _GRAIN_SECONDS:
            self._entries[-1][1] = now
            self._entries[-1][2] += amount
        else:
            self._entries.append([now, now, amount])

    def wait(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits, if nobody else comes; 0: now; infinite: it never does."""
        self._expire(now)
        over = self.used + amount - self.limit
        if over <= 0:
            return 0.0
        if amount > self.limit:
            return inf
        for _, last, taken in self._entries:
            over -= int(taken)
            if over <= 0:
                return last + WINDOW_SECONDS - now
        raise AssertionError("the entries add up to what is used")

    def reset(self, now: float) -> float:
        """Seconds until the window is empty."""
        self._expire(now)
        return self._entries[-1][1] + WINDOW_SECONDS - now if self._entries else 0.0

    def _expire(self, now: float) -> None:
        while self._entries and self._entries[0][1] + WINDOW_SECONDS <= now:
            self.used -= int(self._entries.popleft()[2])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call was not let in, and when it might be."""

    limit: str
    """requests, tokens or concurrency."""
    retry_after_seconds: float
    """Infinite: the call is larger than the limit."""


class Limits:
    """All limits of one simulated model. `clock` gives seconds; None for a limit means none."""

    def __init__(
        self,
        *,
        requests_per_minute: int | None,
        tokens_per_minute: int | None,
        concurrency: int | None,
        clock: Callable[[], float],
        concurrency_retry_seconds: float = 1.0,
    ) -> None:
        self.requests = Window(requests_per_minute) if requests_per_minute is not None else None
        self.tokens = Window(tokens_per_minute) if tokens_per_minute is not None else None
        self.concurrency = concurrency
        self.in_flight = 0
        self._clock = clock
        self._concurrency_retry_seconds = concurrency_retry_seconds

    def refusal(self, tokens: int) -> Refusal | None:
        """Why a call of that many tokens may not start now; None: it may."""
        if self.concurrency is not None and self.in_flight >= self.concurrency:
            return Refusal("concurrency", self._concurrency_retry_seconds)
        now = self._clock()
        if self.requests is not None and (wait := self.requests.wait(1, now)) > 0:
            return Refusal("requests", wait)
        if self.tokens is not None and (wait := self.tokens.wait(tokens, now)) > 0:
            return Refusal("tokens", wait)
        return None

    def enter(self, tokens: int) -> None:
        """Lets a call in that `refusal` has nothing against."""
        now = self._clock()
        if self.requests is not None:
            self.requests.take(1, now)
        if self.tokens is not None:
            self.tokens.take(tokens, now)
        self.in_flight += 1

    def leave(self) -> None:
        """The call has ended, in whatever way."""
        self.in_flight -= 1

    def headers(self) -> dict[str, str]:
        """The x-ratelimit-* headers of the limits that are set."""
        now = self._clock()
        headers: dict[str, str] = {}
        for name, window in (("requests", self.requests), ("tokens", self.tokens)):
            if window is not None:
                reset = window.reset(now)
                headers[f"x-ratelimit-limit-{name}"] = str(window.limit)
                headers[f"x-ratelimit-remaining-{name}"] = str(window.limit - window.used)
                headers[f"x-ratelimit-reset-{name}"] = f"{reset:.3f}s"
        return headers
