"""The executor: takes calls from one endpoint's queue, makes them, and reports what became of each.

Every delivered call ends in exactly one ResultMessage, published before the delivery is acknowledged: whatever breaks
in between, the broker still has the call, or the dispatcher its answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from fanout.broker.messages import CallMessage, Cancel, Heartbeat, ResultMessage
from fanout.broker.outcome import Outcome
from fanout.broker.port import Broker, BrokerUnavailableError, Delivery, Subscription
from fanout_worker.call import Call
from fanout_worker.clients.base import ModelClient

log = logging.getLogger(__name__)

# Waits between tries to publish while the broker is away.
FIRST_BACKOFF_SECONDS = 0.2
LONGEST_BACKOFF_SECONDS = 5.0
# For publishing what was interrupted, when draining or stopping.
SETTLE_SECONDS = 5.0


class Executor:
    """Makes the calls of `endpoint`, at most `prefetch` at once. The client stays the caller's to close."""

    def __init__(
        self,
        broker: Broker,
        endpoint: str,
        client: ModelClient,
        prefetch: int,
        worker_id: str,
        *,
        heartbeat_seconds: float = 5.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._broker = broker
        self._endpoint = endpoint
        self._client = client
        self._prefetch = prefetch
        self._worker = worker_id
        self._heartbeat_seconds = heartbeat_seconds
        self._wall_clock = wall_clock
        self._held: dict[int, Call] = {}
        self._draining = False
        self._calls: Subscription | None = None
        self._cancels: Subscription | None = None
        self._heart: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take calls, and tell the dispatcher of the free slots."""
        self._cancels = await self._broker.consume_cancels(self._endpoint, self._cancel)
        self._calls = await self._broker.consume_calls(self._endpoint, self._prefetch, self._take)
        await self._beat()
        self._heart = asyncio.create_task(self._beat_on(), name=f"heartbeat {self._worker}")

    async def drain(self, grace_seconds: float) -> None:
        """Take no more calls; let those in flight finish for `grace_seconds`, then interrupt and report the rest."""
        self._draining = True
        if self._calls is not None:
            await self._calls.stop()
        await self._beat()
        await self._wait(grace_seconds)
        for call in list(self._held.values()):
            call.interrupt(Outcome.CANCELLED if call.sent else Outcome.NOT_STARTED, "the worker is shutting down")
        await self._wait(SETTLE_SECONDS)

    async def stop(self) -> None:
        """Interrupt what is left and let go of the broker. What could not be reported goes back to the queue."""
        if not self._draining:
            await self.drain(0)
        tasks = [call.task for call in self._held.values()]
        if self._heart is not None:
            tasks.append(self._heart)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for subscription in (self._calls, self._cancels):
            if subscription is not None:
                await subscription.close()

    def _take(self, delivery: Delivery[CallMessage]) -> None:
        message = delivery.message
        held = self._held.get(message.call)
        if held is not None:
            # Delivered again, as after a lost connection: the call goes on, and answers to the new delivery.
            held.delivery = delivery
            return
        call = Call(delivery, self._worker, self._wall_clock)
        self._held[message.call] = call
        call.task = asyncio.create_task(self._run(call))

    async def _run(self, call: Call) -> None:
        if self._draining:
            call.interrupt(Outcome.NOT_STARTED, "the worker is shutting down")
        result = await call.result(self._client)
        if result.epoch != call.delivery.message.epoch:
            result = msgspec.structs.replace(result, epoch=call.delivery.message.epoch)
        await self._publish(result)
        self._held.pop(result.call, None)
        try:
            await call.delivery.ack()
        except BrokerUnavailableError:
            log.warning(
                "call %d at %s: reported, not acknowledged; it will be delivered again", result.call, self._endpoint
            )

    async def _publish(self, result: ResultMessage) -> None:
        """Publish, however long the broker is away: an answer is too dear to drop, and heartbeats keep its lease."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                return await self._broker.publish_report(result)
            except BrokerUnavailableError as exc:
                log.warning("call %d at %s: cannot report its result yet: %s", result.call, self._endpoint, exc)
            except Exception:
                log.exception("call %d at %s: cannot report its result yet", result.call, self._endpoint)
            await asyncio.sleep(backoff)
            backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    def _cancel(self, cancel: Cancel) -> None:
        for identity in cancel.calls:
            call = self._held.get(identity)
            if call is not None:
                call.interrupt(Outcome.CANCELLED, "cancelled by the dispatcher")

    async def _wait(self, seconds: float) -> None:
        tasks = [call.task for call in self._held.values()]
        if tasks and seconds > 0:
            await asyncio.wait(tasks, timeout=seconds)

    async def _beat(self) -> None:
        heartbeat = Heartbeat(
            worker=self._worker,
            endpoint=self._endpoint,
            slots=0 if self._draining else self._prefetch,
            calls=list(self._held),
        )
        try:
            await self._broker.publish_report(heartbeat)
        except Exception as exc:  # without heartbeats all leases would expire
            log.warning("worker %s of %s: no heartbeat: %s", self._worker, self._endpoint, exc)

    async def _beat_on(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            await self._beat()
