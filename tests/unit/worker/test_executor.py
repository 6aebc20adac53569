"""The executor over the in-memory broker: every call ends in one result, whatever happens to it."""

import asyncio
import logging

import msgspec
import pytest

from fanout.broker.memory import MemoryBroker
from fanout.broker.messages import CallMessage, Cancel, Expect, Heartbeat, ResultMessage
from fanout.broker.outcome import Outcome
from fanout.broker.port import BrokerUnavailableError
from fanout_worker.clients.base import CallTimeoutError, ConnectionFailedError, CredentialMissingError, Response
from fanout_worker.executor import Executor

pytestmark = pytest.mark.looptime

OK = msgspec.json.encode({"choices": [{"message": {"content": "fine"}, "finish_reason": "stop"}]})
NOW = 1_700_000_000.0


class Client:
    """Answers after `seconds`; raises what `answer` is if that is an exception."""

    def __init__(self, answer=None, seconds=1.0):
        self.answer = answer or Response(200, {}, OK)
        self.seconds = seconds
        self.running = self.most = self.calls = self.cut = 0

    async def send(self, path, body, timeout_seconds):
        self.calls += 1
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cut += 1
            raise
        finally:
            self.running -= 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def close(self):
        pass


class Collector:
    def __init__(self):
        self.results, self.beats = [], []
        self.arrived = asyncio.Event()
        """Two results are there."""

    async def start(self, broker):
        await broker.consume_reports(1000, self.take)

    def take(self, delivery):
        report = delivery.message
        (self.results if isinstance(report, ResultMessage) else self.beats).append(report)
        if len(self.results) == 2:
            self.arrived.set()
        self.ack = asyncio.ensure_future(delivery.ack())


def call(number, **over):
    return CallMessage(
        **{
            "epoch": 1,
            "call": number,
            "endpoint": "small",
            "path": "/chat/completions",
            "body": b"{}",
            "expect": Expect(kind="chat"),
            "timeout_seconds": 60,
            "start_by": NOW + 10,
            **over,
        }
    )


@pytest.fixture
async def world():
    """Starts executors over one broker, and stops them."""
    broker, collector, executors = MemoryBroker(), Collector(), []
    await collector.start(broker)

    async def start(client, *, prefetch=4, broker=broker, now=lambda: NOW):
        executor = Executor(broker, "small", client, prefetch, "w1", heartbeat_seconds=5, wall_clock=now)
        executors.append(executor)
        await executor.start()
        return executor

    yield broker, collector, start
    for executor in executors:
        await executor.stop()


async def test_calls_are_made_within_prefetch(world):
    broker, collector, start = world
    client = Client()
    await start(client, prefetch=4)
    await broker.publish_calls([call(i) for i in range(10)])
    await asyncio.sleep(10)
    assert sorted(result.call for result in collector.results) == list(range(10))
    assert client.most == 4
    first = collector.results[0]
    assert (first.outcome, first.answers[0].value, first.sent, first.worker) == (
        Outcome.SUCCEEDED,
        b'"fine"',
        True,
        "w1",
    )
    assert first.latency_seconds == pytest.approx(1.0)


async def test_heartbeats_tell_slots_and_calls(world):
    broker, collector, start = world
    await start(Client(seconds=12), prefetch=2)
    assert collector.beats == [Heartbeat(worker="w1", endpoint="small", slots=2, calls=[])]
    await broker.publish_calls([call(7)])
    await asyncio.sleep(16)
    assert [beat.calls for beat in collector.beats] == [[], [7], [7], []]


async def test_late_call_is_handed_back(world):
    broker, collector, start = world
    client = Client()
    await start(client)
    await broker.publish_calls([call(1, start_by=NOW - 1), call(2, start_by=NOW)])
    await asyncio.sleep(5)
    late, timely = sorted(collector.results, key=lambda result: result.call)
    assert (late.outcome, late.sent, timely.outcome) == (Outcome.NOT_STARTED, False, Outcome.SUCCEEDED)
    assert client.calls == 1


async def test_cancel_closes_the_request_and_reports(world):
    broker, collector, start = world
    client = Client(seconds=50)
    await start(client)
    await broker.publish_calls([call(1), call(2)])
    await asyncio.sleep(1)
    await broker.publish_cancel(Cancel(endpoint="small", calls=[1, 99]))
    await asyncio.sleep(1)
    (result,) = collector.results
    assert (result.call, result.outcome, result.sent, client.cut) == (1, Outcome.CANCELLED, True, 1)
    assert result.latency_seconds == pytest.approx(1.0)


async def test_cancel_before_the_start_sends_nothing(world):
    broker, collector, start = world
    client = Client()
    await start(client)
    await broker.publish_calls([call(1)])
    await broker.publish_cancel(Cancel(endpoint="small", calls=[1]))
    await asyncio.sleep(5)
    (result,) = collector.results
    assert (result.outcome, result.sent, client.calls) == (Outcome.CANCELLED, False, 0)


@pytest.mark.parametrize(
    ("error", "outcome", "sent"),
    [
        (CallTimeoutError("slow"), Outcome.TIMEOUT, True),
        (ConnectionFailedError("refused", sent=False), Outcome.CONNECTION_FAILED, False),
        (ConnectionFailedError("reset", sent=True), Outcome.CONNECTION_FAILED, True),
        (CredentialMissingError("set X"), Outcome.UNAUTHORIZED, False),
    ],
)
async def test_failures_without_a_response(world, error, outcome, sent):
    broker, collector, start = world
    await start(Client(error))
    await broker.publish_calls([call(1)])
    await asyncio.sleep(5)
    (result,) = collector.results
    assert (result.outcome, result.sent, result.error, result.answers) == (outcome, sent, str(error), [])


async def test_unexpected_exception_becomes_a_result_with_a_traceback_in_the_log(world, caplog):
    broker, collector, start = world
    await start(Client(ZeroDivisionError("prompt text")))
    await broker.publish_calls([call(1)])
    await asyncio.sleep(5)
    (result,) = collector.results
    assert result.outcome == Outcome.SERVER_ERROR
    assert "ZeroDivisionError" in result.error
    assert "prompt text" not in result.error
    assert any(record.exc_info for record in caplog.records)


async def test_failure_is_one_log_line_without_bodies(world, caplog):
    caplog.set_level(logging.INFO)
    broker, _, start = world
    await start(Client(Response(429, {"x-request-id": "r9"}, b'{"error": {"message": "quoted prompt"}}')))
    await broker.publish_calls([call(1, body=b'{"secret": "prompt"}')])
    await asyncio.sleep(5)
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("fanout_worker")]
    assert line == "call 1 at small: RateLimited (HTTP 429, request r9)"


async def test_other_wire_version_is_refused(world):
    broker, collector, start = world
    client = Client()
    await start(client)
    await broker.publish_calls([call(1, v=9)])
    await asyncio.sleep(1)
    (result,) = collector.results
    assert (result.outcome, result.sent, client.calls) == (Outcome.BAD_REQUEST, False, 0)
    assert "version 9" in result.error
    assert "version 1" in result.error


async def test_unusable_schema_costs_nothing(world):
    broker, collector, start = world
    client = Client()
    await start(client)
    await broker.publish_calls([call(1, expect=Expect(kind="chat", schema=b'{"type": "strin"}'))])
    await asyncio.sleep(1)
    assert (collector.results[0].outcome, client.calls) == (Outcome.BAD_REQUEST, 0)
    assert "responseSchema" in collector.results[0].error


async def test_drain_finishes_what_it_can(world):
    broker, collector, start = world
    client = Client(seconds=3)
    executor = await start(client, prefetch=2)
    await broker.publish_calls([call(1), call(2)])
    await asyncio.sleep(1)
    drained = asyncio.create_task(executor.drain(60))
    await asyncio.sleep(0)
    await broker.publish_calls([call(3)])
    await drained
    assert [(result.call, result.outcome) for result in collector.results] == [
        (1, Outcome.SUCCEEDED),
        (2, Outcome.SUCCEEDED),
    ]
    assert collector.beats[-1].slots == 0
    # What was not taken is still in the queue, for another worker.
    await start(Client(seconds=1))
    await asyncio.sleep(5)
    assert collector.results[-1].call == 3


async def test_drain_interrupts_what_takes_longer_than_the_grace(world):
    broker, collector, start = world
    executor = await start(Client(seconds=500))
    await broker.publish_calls([call(1)])
    await asyncio.sleep(1)
    await executor.drain(10)
    (result,) = collector.results
    assert (result.outcome, result.sent) == (Outcome.CANCELLED, True)
    assert "shutting down" in result.error


async def test_stop_reports_at_once(world):
    broker, collector, start = world
    executor = await start(Client(seconds=500))
    await broker.publish_calls([call(1)])
    await asyncio.sleep(1)
    begun = asyncio.get_running_loop().time()
    await executor.stop()
    assert asyncio.get_running_loop().time() - begun < 1
    assert collector.results[0].outcome == Outcome.CANCELLED
    beats = len(collector.beats)
    await asyncio.sleep(60)
    assert len(collector.beats) == beats


class FlakyBroker(MemoryBroker):
    """Cannot take reports while `away`."""

    away = False

    async def publish_report(self, report):
        if self.away:
            raise BrokerUnavailableError("gone")
        await super().publish_report(report)


async def test_result_outlives_a_broker_that_is_away(world):
    _, _, start = world
    broker, collector, client = FlakyBroker(), Collector(), Client()
    await collector.start(broker)
    executor = await start(client, broker=broker)
    await broker.publish_calls([call(1)])
    await asyncio.sleep(0.5)
    broker.away = True
    await asyncio.sleep(30)
    assert collector.results == []
    broker.away = False
    await asyncio.sleep(10)
    assert [result.outcome for result in collector.results] == [Outcome.SUCCEEDED]
    assert collector.beats[-1].calls == []
    assert client.calls == 1
    await executor.stop()


async def test_stop_leaves_what_could_not_be_reported_in_the_queue(world):
    _, _, start = world
    broker, collector = FlakyBroker(), Collector()
    await collector.start(broker)
    executor = await start(Client(), broker=broker)
    await broker.publish_calls([call(1)])
    broker.away = True
    await asyncio.sleep(5)
    await executor.stop()
    broker.away = False
    await start(Client(), broker=broker)
    await asyncio.sleep(5)
    assert [result.call for result in collector.results] == [1]


async def test_redelivery_joins_the_running_call(world):
    broker, collector, start = world
    client = Client(seconds=5)
    await start(client)
    await broker.publish_calls([call(1)])
    await asyncio.sleep(1)
    await broker.publish_calls([call(1, epoch=2)])
    await asyncio.sleep(20)
    assert client.calls == 1
    assert [(result.call, result.epoch) for result in collector.results] == [(1, 2)]


async def test_large_responses_are_read_beside_the_loop(world):
    broker, collector, start = world
    text = '{"label": "' + "x" * 300_000 + '"}'
    body = msgspec.json.encode({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})
    await start(Client(Response(200, {}, body)))
    await broker.publish_calls([call(1, expect=Expect(kind="chat", schema=b'{"type": "object"}')), call(2)])
    await asyncio.wait_for(collector.arrived.wait(), 60)
    assert all(result.outcome == Outcome.SUCCEEDED for result in collector.results)
    values = [
        msgspec.json.decode(result.answers[0].value) for result in sorted(collector.results, key=lambda r: r.call)
    ]
    assert values == [msgspec.json.decode(text), text]
