"""The broker as the engine and the workers see it. Adapters: memory.py here; RabbitMQ's stands beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from fanout.broker.messages import CallMessage, Cancel, Report

M = TypeVar("M", CallMessage, Report, Cancel)


class Delivery(ABC, Generic[M]):
    """A message taken from a queue and not yet acknowledged."""

    message: M

    @abstractmethod
    async def ack(self) -> None:
        """Done with it: the broker forgets it. Acknowledging twice does nothing."""

    @abstractmethod
    async def requeue(self) -> None:
        """Give it back, to be delivered again."""


class Subscription(ABC):
    """A running consumer."""

    @abstractmethod
    async def stop(self) -> None:
        """Receive no more. What is delivered stays delivered, to be acknowledged or requeued, until `close`."""

    @abstractmethod
    async def close(self) -> None:
        """Stop receiving. What is delivered and not acknowledged goes back to the queue."""


class Broker(ABC):
    """Long-lived queues: one of calls per endpoint, one of reports (results and heartbeats), and a way to cancel.

    Handlers are plain functions, called on the event loop for each message as it arrives; they hand longer work to a task.
    """

    @abstractmethod
    async def publish_calls(self, messages: Sequence[CallMessage]) -> None:
        """Return when the broker has taken charge of every message; raise BrokerUnavailableError otherwise."""

    @abstractmethod
    async def consume_calls(
        self, endpoint: str, prefetch: int, handler: Callable[[Delivery[CallMessage]], None]
    ) -> Subscription:
        """Receive an endpoint's calls, at most `prefetch` unacknowledged at a time."""

    @abstractmethod
    async def publish_report(self, report: Report) -> None:
        """Return when the broker has taken charge of the report."""

    @abstractmethod
    async def consume_reports(self, prefetch: int, handler: Callable[[Delivery[Report]], None]) -> Subscription:
        """Receive results and heartbeats of all endpoints."""

    @abstractmethod
    async def publish_cancel(self, cancel: Cancel) -> None:
        """Tell every worker of the endpoint; those that hold none of the calls ignore it."""

    @abstractmethod
    async def consume_cancels(self, endpoint: str, handler: Callable[[Cancel], None]) -> Subscription:
        """Receive an endpoint's cancellations. They need no acknowledgement: a lost one costs a call, no result."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connection."""


class BrokerUnavailableError(Exception):
    """The broker cannot be reached; what was published may or may not have arrived."""
