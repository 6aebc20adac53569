"""Latencies go through their percentiles."""

from __future__ import annotations

from random import Random
from statistics import quantiles

import pytest

from fanout.api.simulated import Latency
from fanout_worker.simulated.latency import LatencySampler


def sampled(latency: Latency, n: int = 40_000) -> list[float]:
    sampler = LatencySampler(latency, Random(1))
    return [sampler.sample() for _ in range(n)]


def test_log_normal_goes_through_both_percentiles() -> None:
    cuts = quantiles(sampled(Latency(p50_milliseconds=500, p99_milliseconds=2000)), n=100)
    assert cuts[49] == pytest.approx(0.5, rel=0.03)
    assert cuts[98] == pytest.approx(2.0, rel=0.06)


def test_equal_percentiles_are_constant() -> None:
    assert sampled(Latency(p50_milliseconds=250, p99_milliseconds=250), 100) == pytest.approx([0.25] * 100)


def test_no_latency_is_none() -> None:
    assert set(sampled(Latency(straggler_percent=50), 100)) == {0.0}


def test_stragglers_take_their_factor_longer() -> None:
    values = sampled(Latency(p50_milliseconds=100, p99_milliseconds=100, straggler_percent=5, straggler_factor=20))
    slow = [value for value in values if value > 1]
    assert slow == pytest.approx([2.0] * len(slow))
    assert len(slow) / len(values) == pytest.approx(0.05, abs=0.006)


def test_the_same_seed_gives_the_same_run() -> None:
    latency = Latency(p50_milliseconds=10, p99_milliseconds=500, straggler_percent=1)
    assert sampled(latency, 100) == sampled(latency, 100)
