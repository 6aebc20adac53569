"""An endpoint's window: never more in flight than its concurrency and its live workers allow."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fanout.dispatch.window import Window

TIMEOUT = 30.0


def make_window(concurrency=4, slots=(4,)):
    window = Window(concurrency, TIMEOUT)
    for i, each in enumerate(slots):
        window.heartbeat(f"w{i}", each, 0.0)
    return window


@pytest.mark.parametrize(
    ("concurrency", "slots", "in_flight", "free"),
    [(4, (), 0, 0), (4, (2,), 0, 2), (4, (2, 2), 1, 3), (4, (64, 64), 0, 4), (4, (64,), 4, 0), (4, (2,), 3, 0)],
)
def test_the_smaller_of_concurrency_and_slots_decides(concurrency, slots, in_flight, free):
    window = make_window(concurrency, slots)
    window.in_flight = in_flight
    assert window.free(0.0) == free


def test_a_throttled_endpoint_gets_nothing_until_its_time_has_come():
    window = make_window()
    window.throttle(10.0, 5.0)
    assert window.free(14.9) == 0
    assert window.free(15.0) == 4


def test_a_shorter_wait_does_not_shorten_a_longer_one():
    window = make_window()
    window.throttle(0.0, 20.0)
    window.throttle(1.0, 2.0)
    assert window.closed_until == 20.0


def test_a_draining_worker_is_forgotten_at_once():
    window = make_window(8, (4, 4))
    window.heartbeat("w0", 0, 1.0)
    window.heartbeat("unknown", 0, 1.0)
    assert window.slots == 4


def test_a_silent_worker_is_forgotten_after_the_timeout():
    window = make_window(8, (4, 4))
    window.heartbeat("w1", 4, 20.0)
    window.expire_workers(TIMEOUT)
    assert window.slots == 8
    window.expire_workers(TIMEOUT + 1)
    assert list(window.workers) == ["w1"]


@pytest.mark.parametrize(
    ("slots", "in_flight", "throttled", "reason"),
    [
        ((4,), 0, False, None),
        ((4,), 4, False, "Concurrency"),
        ((2,), 2, False, "Workers"),
        ((), 0, False, "Workers"),
        ((4,), 0, True, "Throttled"),
    ],
)
def test_what_holds_it_back(slots, in_flight, throttled, reason):
    window = make_window(4, slots)
    window.in_flight = in_flight
    if throttled:
        window.throttle(0.0, 1.0)
    assert window.limited_by(0.5) == reason


class Sending(RuleBasedStateMachine):
    """Workers come and go, the endpoint throttles, calls go out and come back, in any order."""

    @initialize(concurrency=st.integers(1, 20))
    def begin(self, concurrency):
        self.window, self.now, self.sent_into = Window(concurrency, TIMEOUT), 0.0, 0

    @rule(worker=st.sampled_from("abc"), slots=st.integers(0, 8))
    def beat(self, worker, slots):
        self.window.heartbeat(worker, slots, self.now)

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds):
        self.now += seconds
        self.window.expire_workers(self.now)

    @rule(seconds=st.floats(0, 20))
    def throttle(self, seconds):
        self.window.throttle(self.now, seconds)

    @rule()
    def send(self):
        free = self.window.free(self.now)
        for left in range(free, 0, -1):
            assert self.window.free(self.now) == left
            self.window.in_flight += 1
        if free:
            assert self.now >= self.window.closed_until
            assert self.window.in_flight <= self.window.slots
        assert self.window.free(self.now) == 0

    @rule(count=st.integers(1, 20))
    def answer(self, count):
        self.window.in_flight -= min(count, self.window.in_flight)

    @invariant()
    def bounded(self):
        if hasattr(self, "window"):
            assert 0 <= self.window.in_flight <= self.window.concurrency
            assert self.window.free(self.now) >= 0
            assert (self.window.limited_by(self.now) is None) == (self.window.free(self.now) > 0)


Sending.TestCase.settings = settings(max_examples=60, stateful_step_count=30)
TestSending = Sending.TestCase
