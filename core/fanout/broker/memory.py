"""The broker inside one process: for `fanout run`, and for tests that need no server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic

from fanout.broker.messages import CallMessage, Cancel, Report
from fanout.broker.port import Broker, Delivery, M, Subscription


class MemoryBroker(Broker):
    """Queues in memory, with prefetch, acknowledgement and redelivery as a real broker has them."""

    def __init__(self) -> None:
        self._calls: dict[str, _Queue[CallMessage]] = {}
        self._reports: _Queue[Report] = _Queue()
        self._cancels: dict[str, list[Callable[[Cancel], None]]] = {}

    async def publish_calls(self, messages: Sequence[CallMessage]) -> None:
        for message in messages:
            self._queue(message.endpoint).put(message)

    async def consume_calls(
        self, endpoint: str, prefetch: int, handler: Callable[[Delivery[CallMessage]], None]
    ) -> Subscription:
        return self._queue(endpoint).subscribe(prefetch, handler)

    async def publish_report(self, report: Report) -> None:
        self._reports.put(report)

    async def consume_reports(self, prefetch: int, handler: Callable[[Delivery[Report]], None]) -> Subscription:
        return self._reports.subscribe(prefetch, handler)

    async def publish_cancel(self, cancel: Cancel) -> None:
        for handler in list(self._cancels.get(cancel.endpoint, ())):
            handler(cancel)

    async def consume_cancels(self, endpoint: str, handler: Callable[[Cancel], None]) -> Subscription:
        handlers = self._cancels.setdefault(endpoint, [])
        handlers.append(handler)
        return _CancelSubscription(handlers, handler)

    async def close(self) -> None:
        """Nothing to close: what is queued goes with the process, and the ledger sends it again."""

    def _queue(self, endpoint: str) -> _Queue[CallMessage]:
        return self._calls.setdefault(endpoint, _Queue())


class _Queue(Generic[M]):
    """Ready messages, and the consumers they go to in turn."""

    def __init__(self) -> None:
        self.ready: deque[M] = deque()
        self.consumers: deque[_Consumer[M]] = deque()

    def put(self, message: M) -> None:
        self.ready.append(message)
        self.deliver()

    def subscribe(self, prefetch: int, handler: Callable[[Delivery[M]], None]) -> _Consumer[M]:
        consumer = _Consumer(self, prefetch, handler)
        self.consumers.append(consumer)
        self.deliver()
        return consumer

    def deliver(self) -> None:
        """Hand ready messages to consumers below their prefetch, round robin."""
        full = 0
        while self.ready and full < len(self.consumers):
            consumer = self.consumers[0]
            self.consumers.rotate(-1)
            if len(consumer.unacked) >= consumer.prefetch:
                full += 1
                continue
            full = 0
            delivery = _MemoryDelivery(self.ready.popleft(), consumer)
            consumer.unacked[id(delivery)] = delivery
            consumer.handler(delivery)


class _Consumer(Subscription, Generic[M]):
    def __init__(self, queue: _Queue[M], prefetch: int, handler: Callable[[Delivery[M]], None]) -> None:
        self.queue: _Queue[M] = queue
        self.prefetch = prefetch
        self.handler: Callable[[Delivery[M]], None] = handler
        self.unacked: dict[int, _MemoryDelivery[M]] = {}

    async def stop(self) -> None:
        if self in self.queue.consumers:
            self.queue.consumers.remove(self)

    async def close(self) -> None:
        await self.stop()
        self.queue.ready.extendleft(delivery.message for delivery in reversed(self.unacked.values()))
        self.unacked.clear()
        self.queue.deliver()


class _MemoryDelivery(Delivery[M]):
    def __init__(self, message: M, consumer: _Consumer[M]) -> None:
        self.message = message
        self._consumer: _Consumer[M] = consumer

    async def ack(self) -> None:
        if self._consumer.unacked.pop(id(self), None) is not None:
            self._consumer.queue.deliver()

    async def requeue(self) -> None:
        if self._consumer.unacked.pop(id(self), None) is not None:
            self._consumer.queue.ready.appendleft(self.message)
            self._consumer.queue.deliver()


class _CancelSubscription(Subscription):
    def __init__(self, handlers: list[Callable[[Cancel], None]], handler: Callable[[Cancel], None]) -> None:
        self._handlers = handlers
        self._handler = handler

    async def stop(self) -> None:
        await self.close()

    async def close(self) -> None:
        if self._handler in self._handlers:
            self._handlers.remove(self._handler)
