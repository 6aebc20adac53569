"""How long a simulated call takes."""

from __future__ import annotations

import math
from random import Random

from fanout.api.simulated import Latency

# The standard normal distribution's 99th percentile.
_Z99 = 2.3263478740408408


class LatencySampler:
    """Durations from a log-normal distribution through p50 and p99, a share of them stretched to stragglers."""

    def __init__(self, latency: Latency, rng: Random) -> None:
        self._rng = rng
        self._straggler_share = latency.straggler_percent / 100
        self._straggler_factor = latency.straggler_factor
        self._none = latency.p99_milliseconds == 0
        # A log-normal's median is above zero; the resource counts in whole milliseconds, so the least median is one.
        median = max(latency.p50_milliseconds, 1) / 1000
        self._mu = math.log(median)
        self._sigma = max(0.0, math.log(max(latency.p99_milliseconds, 1) / 1000) - self._mu) / _Z99

    def sample(self) -> float:
        """Seconds from request to answer."""
        if self._none:
            return 0.0
        seconds = math.exp(self._rng.gauss(self._mu, self._sigma)) if self._sigma else math.exp(self._mu)
        if self._straggler_share and self._rng.random() < self._straggler_share:
            seconds *= self._straggler_factor
        return seconds
