"""Limits are strict over any 60 seconds, tell how long to wait, and forget what is over."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from fanout_worker.simulated.limits import Limits, Window


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def limits(clock: Clock, **given: int | None) -> Limits:
    unset = {"requests_per_minute": None, "tokens_per_minute": None, "concurrency": None}
    return Limits(**(unset | given), clock=clock)


@given(
    st.integers(1, 40),
    st.lists(st.tuples(st.floats(0, 25), st.integers(1, 12)), max_size=200),
)
def test_no_60_seconds_hold_more_than_the_limit(limit: int, calls: list[tuple[float, int]]) -> None:
    window, now = Window(limit), 0.0
    taken: list[tuple[float, int]] = []
    for pause, amount in calls:
        now += pause
        if window.wait(amount, now) == 0:
            window.take(amount, now)
            taken.append((now, amount))
    for start, _ in taken:
        assert sum(amount for at, amount in taken if start <= at < start + 60) <= limit


@given(st.integers(1, 30), st.lists(st.tuples(st.floats(0, 10), st.integers(1, 30)), min_size=1, max_size=100))
def test_the_wait_is_enough_and_no_more_than_a_window(limit: int, calls: list[tuple[float, int]]) -> None:
    window, now = Window(limit), 0.0
    for pause, amount in calls:
        now += pause
        wait = window.wait(amount, now)
        if amount > limit:
            assert wait == inf
        elif wait > 0:
            assert wait <= 60.001
            assert window.wait(amount, now + 0.999 * wait) > 0
            now += wait + 1e-6
            assert window.wait(amount, now) == 0
            window.take(amount, now)
        else:
            window.take(amount, now)


def test_the_whole_limit_is_given() -> None:
    window = Window(600)
    served = 0
    for step in range(120_000):  # ten minutes, 200 tries a second
        now = step * 0.005
        if window.wait(1, now) == 0:
            window.take(1, now)
            served += 1
    assert served >= 0.99 * 6000


def test_memory_is_bounded_whatever_the_rate() -> None:
    window = Window(10**9)
    for step in range(200_000):
        window.wait(1, step * 0.001)
        window.take(1, step * 0.001)
    assert len(window._entries) <= 6002


def test_each_limit_says_its_name() -> None:
    clock = Clock()
    one = limits(clock, requests_per_minute=1)
    one.enter(5)
    refusal = one.refusal(5)
    assert refusal is not None
    assert (refusal.limit, refusal.retry_after_seconds) == ("requests", 60.0)
    clock.now += 60
    assert one.refusal(5) is None

    tokens = limits(clock, tokens_per_minute=10)
    tokens.enter(8)
    assert tokens.refusal(2) is None
    refusal = tokens.refusal(3)
    assert refusal is not None
    assert refusal.limit == "tokens"
    too_large = tokens.refusal(11)
    assert too_large is not None
    assert too_large.retry_after_seconds == inf


def test_concurrency_frees_with_each_end() -> None:
    both = limits(Clock(), concurrency=2)
    both.enter(1)
    both.enter(1)
    refusal = both.refusal(1)
    assert refusal is not None
    assert refusal.limit == "concurrency"
    assert refusal.retry_after_seconds > 0
    both.leave()
    assert both.refusal(1) is None


def test_headers_tell_what_remains() -> None:
    clock = Clock()
    some = limits(clock, requests_per_minute=10, tokens_per_minute=100)
    some.enter(30)
    clock.now += 15
    assert some.headers() == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "45.000s",
        "x-ratelimit-limit-tokens": "100",
        "x-ratelimit-remaining-tokens": "70",
        "x-ratelimit-reset-tokens": "45.000s",
    }
    assert limits(clock).headers() == {}
