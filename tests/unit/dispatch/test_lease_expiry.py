"""When the dispatcher gives a silent worker's calls up, and when it must not."""

from types import SimpleNamespace

import pytest

from fanout.broker.outcome import Outcome
from fanout.dispatch.dispatcher import Dispatcher, Lease, Settings
from fanout.dispatch.window import Window

LEASE_SECONDS = 30.0


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(Dispatcher, "_now", staticmethod(lambda: clock.now))
    return clock


@pytest.fixture
def dispatcher(clock):
    """A dispatcher with one call out at one worker, both heard of at 0 s."""
    made = Dispatcher(SimpleNamespace(epoch=1), None, settings=Settings(lease_seconds=LEASE_SECONDS))
    made.windows["e"] = Window(concurrency=1, worker_timeout=LEASE_SECONDS, in_flight=1)
    made.windows["e"].heartbeat("w", 1, clock.now)
    prepared = SimpleNamespace(call=SimpleNamespace(job=0))
    made.leases[7] = Lease(prepared, None, "e", expires=clock.now + LEASE_SECONDS)
    made.lost = []
    made.on_lost = made.lost.extend
    return made


def look(dispatcher, clock, *times):
    for clock.now in times:
        dispatcher._expire()


def test_a_silent_workers_call_is_lost_and_its_slot_free(dispatcher, clock):
    look(dispatcher, clock, 7, 14, 21, 28)
    assert dispatcher.lost == []
    look(dispatcher, clock, 31)
    assert [(lost.call, lost.outcome) for lost in dispatcher.lost] == [(7, Outcome.LOST)]
    assert dispatcher.windows["e"].in_flight == 0
    assert dispatcher.windows["e"].workers == {}


def test_a_loop_that_stood_still_blames_no_worker(dispatcher, clock):
    look(dispatcher, clock, 7, 100)
    assert dispatcher.lost == []
    assert dispatcher.windows["e"].slots == 1


def test_a_worker_that_stays_silent_after_the_loop_stood_still_is_given_up(dispatcher, clock):
    look(dispatcher, clock, 7, 100, 107, 114, 121)
    assert dispatcher.lost == []
    look(dispatcher, clock, 125)
    assert [lost.call for lost in dispatcher.lost] == [7]
