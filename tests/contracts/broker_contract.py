"""What every broker adapter must do. Inherit, and give a `connect` fixture: a function that makes a connected Broker.

Each test uses endpoint names of its own, so that an adapter may keep its queues between tests.
"""

import asyncio
import itertools

import pytest

from fanout.broker.messages import CallMessage, Cancel, Expect, Heartbeat, ResultMessage
from fanout.broker.outcome import Outcome

numbers = itertools.count()


class Consumer:
    """Collects deliveries, and waits for them."""

    def __init__(self):
        self.deliveries = []
        self._more = asyncio.Event()

    def __call__(self, delivery):
        self.deliveries.append(delivery)
        self._more.set()

    @property
    def calls(self):
        return [delivery.message.call for delivery in self.deliveries]

    async def until(self, count):
        """The first `count` deliveries."""
        async with asyncio.timeout(5):
            while len(self.deliveries) < count:
                self._more.clear()
                await self._more.wait()
        return self.deliveries[:count]


def make_call(endpoint, call=1, **changes):
    values = {
        "epoch": 3, "path": "/chat/completions", "body": b'{"model": "m"}', "expect": Expect(kind="chat", tasks=2),
        "timeout_seconds": 10.0, "start_by": 1e10,
    }  # fmt: skip
    return CallMessage(endpoint=endpoint, call=call, **(values | changes))


def make_result(endpoint, call=1):
    return ResultMessage(epoch=3, call=call, endpoint=endpoint, worker="w", outcome=Outcome.SUCCEEDED)


class BrokerContract:
    """The port's promises, as tests. `quiet`: seconds in which what is not delivered counts as never delivered."""

    quiet = 0.01

    @pytest.fixture
    def endpoint(self):
        return f"endpoint-{next(numbers)}"

    @pytest.fixture
    async def broker(self, connect):
        broker = await connect()
        yield broker
        await broker.close()

    async def test_a_call_arrives_as_it_was_sent(self, broker, endpoint):
        taken = Consumer()
        await broker.consume_calls(endpoint, 1, taken)
        message = make_call(endpoint, expect=Expect(kind="chat", tasks=3, batched=True, schema=b"{}"))
        await broker.publish_calls([message])
        (delivery,) = await taken.until(1)
        assert delivery.message == message

    async def test_what_is_published_before_anyone_listens_is_kept_in_order(self, broker, endpoint):
        await broker.publish_calls([make_call(endpoint, call) for call in range(5)])
        taken = Consumer()
        await broker.consume_calls(endpoint, 10, taken)
        await taken.until(5)
        assert taken.calls == [0, 1, 2, 3, 4]

    async def test_an_endpoints_calls_go_to_its_own_workers(self, broker, endpoint):
        mine, other = Consumer(), Consumer()
        await broker.consume_calls(endpoint, 10, mine)
        await broker.consume_calls(f"{endpoint}-other", 10, other)
        await broker.publish_calls([make_call(f"{endpoint}-other", 1), make_call(endpoint, 2)])
        await mine.until(1)
        await other.until(1)
        assert (mine.calls, other.calls) == ([2], [1])

    async def test_no_consumer_holds_more_than_its_prefetch(self, broker, endpoint):
        taken = Consumer()
        await broker.consume_calls(endpoint, 2, taken)
        await broker.publish_calls([make_call(endpoint, call) for call in range(5)])
        first, second = await taken.until(2)
        await asyncio.sleep(self.quiet)
        assert taken.calls == [0, 1]
        await second.ack()
        await taken.until(3)
        await asyncio.sleep(self.quiet)
        assert taken.calls == [0, 1, 2]
        await first.ack()
        await taken.until(4)

    async def test_acknowledging_twice_does_nothing(self, broker, endpoint):
        taken = Consumer()
        await broker.consume_calls(endpoint, 1, taken)
        await broker.publish_calls([make_call(endpoint, call) for call in range(3)])
        (first,) = await taken.until(1)
        await first.ack()
        await first.ack()
        await taken.until(2)
        await asyncio.sleep(self.quiet)
        assert taken.calls == [0, 1]

    async def test_what_is_given_back_is_delivered_again(self, broker, endpoint):
        taken = Consumer()
        await broker.consume_calls(endpoint, 1, taken)
        await broker.publish_calls([make_call(endpoint, 7)])
        (first,) = await taken.until(1)
        await first.requeue()
        again = (await taken.until(2))[1]
        assert again.message == first.message
        await again.ack()
        await asyncio.sleep(self.quiet)
        assert len(taken.deliveries) == 2

    async def test_what_a_closed_consumer_held_goes_to_another(self, broker, endpoint):
        first, second = Consumer(), Consumer()
        subscription = await broker.consume_calls(endpoint, 10, first)
        await broker.publish_calls([make_call(endpoint, call) for call in range(3)])
        held = await first.until(3)
        await held[1].ack()
        await subscription.close()
        await broker.consume_calls(endpoint, 10, second)
        await second.until(2)
        await asyncio.sleep(self.quiet)
        assert sorted(second.calls) == [0, 2]

    async def test_a_stopped_consumer_receives_no_more_and_keeps_what_it_has(self, broker, endpoint):
        stopped, other = Consumer(), Consumer()
        subscription = await broker.consume_calls(endpoint, 10, stopped)
        await broker.publish_calls([make_call(endpoint, 1)])
        (held,) = await stopped.until(1)
        await subscription.stop()
        await broker.consume_calls(endpoint, 10, other)
        await broker.publish_calls([make_call(endpoint, 2)])
        await other.until(1)
        await asyncio.sleep(self.quiet)
        assert (stopped.calls, other.calls) == ([1], [2])
        await held.ack()
        await subscription.close()
        await asyncio.sleep(self.quiet)
        assert other.calls == [2], "acknowledged is acknowledged"

    async def test_idle_consumers_take_turns(self, broker, endpoint):
        consumers = [Consumer() for _ in range(3)]
        for consumer in consumers:
            await broker.consume_calls(endpoint, 100, consumer)
        await broker.publish_calls([make_call(endpoint, call) for call in range(30)])
        for consumer in consumers:
            await consumer.until(10)
        assert sorted(call for consumer in consumers for call in consumer.calls) == list(range(30))
        assert [len(consumer.calls) for consumer in consumers] == [10, 10, 10]

    async def test_a_full_consumer_does_not_hold_up_the_others(self, broker, endpoint):
        slow, quick = Consumer(), Consumer()
        await broker.consume_calls(endpoint, 1, slow)
        await broker.consume_calls(endpoint, 100, quick)
        await broker.publish_calls([make_call(endpoint, call) for call in range(10)])
        await quick.until(9)
        assert len(slow.calls) == 1

    async def test_reports_of_all_endpoints_arrive(self, broker, endpoint):
        taken = Consumer()
        await broker.consume_reports(100, taken)
        result = make_result(endpoint)
        beat = Heartbeat(worker="w", endpoint=f"{endpoint}-other", slots=4, calls=[1, 2])
        await broker.publish_report(result)
        await broker.publish_report(beat)
        deliveries = await taken.until(2)
        assert [delivery.message for delivery in deliveries] == [result, beat]
        for delivery in deliveries:
            await delivery.ack()

    async def test_reports_are_kept_until_they_are_acknowledged(self, broker, endpoint):
        await broker.publish_report(make_result(endpoint, 1))
        first, second = Consumer(), Consumer()
        subscription = await broker.consume_reports(100, first)
        await first.until(1)
        await subscription.close()
        await broker.consume_reports(100, second)
        (delivery,) = await second.until(1)
        assert delivery.message == make_result(endpoint, 1)
        await delivery.ack()

    async def test_a_cancel_reaches_every_worker_of_its_endpoint(self, broker, endpoint):
        heard = {"a": [], "b": [], "other": []}
        done = asyncio.Event()

        def listen(name):
            def handler(cancel):
                heard[name].append(cancel)
                if heard["a"] and heard["b"]:
                    done.set()

            return handler

        await broker.consume_cancels(endpoint, listen("a"))
        await broker.consume_cancels(endpoint, listen("b"))
        await broker.consume_cancels(f"{endpoint}-other", listen("other"))
        cancel = Cancel(endpoint=endpoint, calls=[1, 2])
        await broker.publish_cancel(cancel)
        async with asyncio.timeout(5):
            await done.wait()
        await asyncio.sleep(self.quiet)
        assert heard == {"a": [cancel], "b": [cancel], "other": []}

    async def test_who_is_closed_hears_no_cancels_and_nobody_need_listen(self, broker, endpoint):
        heard = []
        subscription = await broker.consume_cancels(endpoint, heard.append)
        await subscription.close()
        await subscription.close()
        await broker.publish_cancel(Cancel(endpoint=endpoint, calls=[1]))
        await asyncio.sleep(self.quiet)
        assert heard == []
