"""One call from its delivery to its result, which is there whatever happens in between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from fanout.broker.messages import WIRE_VERSION, CallMessage, ResultMessage
from fanout.broker.outcome import Outcome
from fanout.broker.port import Delivery
from fanout_worker.clients.base import CallError, ModelClient
from fanout_worker.structured.schema import SchemaUnusableError, compile_schema
from fanout_worker.unpack import unpack

log = logging.getLogger(__name__)

# Larger responses are read in a thread: it takes milliseconds, in which the loop serves other calls. Structured ones
# may need repair, which is slow for a hostile answer.
INLINE_BYTES = 256 * 1024
INLINE_STRUCTURED_BYTES = 4 * 1024


class Call:
    """A delivered call and how far it has got."""

    task: asyncio.Task[None]
    """Runs the call; set by whoever starts it."""

    def __init__(self, delivery: Delivery[CallMessage], worker: str, wall_clock: Callable[[], float]) -> None:
        self.delivery = delivery
        self.sent = False
        self._worker = worker
        self._wall_clock = wall_clock
        self._begun: float | None = None
        self._requesting = False
        self._interrupted: tuple[Outcome, str] | None = None

    def interrupt(self, outcome: Outcome, why: str) -> None:
        """Stop the request (its connection closes) and report `outcome`; a response already there is still reported."""
        if self._interrupted is None:
            self._interrupted = (outcome, why)
            if self._requesting:
                self.task.cancel()

    async def result(self, client: ModelClient) -> ResultMessage:
        """Make the call. Raises nothing but the CancelledError of someone other than `interrupt`."""
        message = self.delivery.message
        try:
            result = self._refused(message) or await self._respond(client, message)
        except asyncio.CancelledError:
            if self._interrupted is None:
                raise
            self.task.uncancel()
            result = self._without_response(*self._interrupted)
        except CallError as exc:
            self.sent = exc.sent
            result = self._without_response(exc.outcome, str(exc))
        except Exception as exc:
            log.exception("call %d at %s: unexpected failure", message.call, message.endpoint)
            result = self._without_response(
                Outcome.SERVER_ERROR, f"unexpected {type(exc).__name__} in the worker; its log holds the traceback"
            )
        if result.outcome != Outcome.SUCCEEDED:
            _log_failure(result)
        return result

    def _refused(self, message: CallMessage) -> ResultMessage | None:
        """The result of a call that is not to be made."""
        if message.v != WIRE_VERSION:
            return self._without_response(
                Outcome.BAD_REQUEST,
                f"the call has wire version {message.v}, and this worker knows version {WIRE_VERSION}: "
                "run the same release of operator and workers",
            )
        if self._interrupted is not None:
            return self._without_response(*self._interrupted)
        late = self._wall_clock() - message.start_by
        if late > 0:
            return self._without_response(Outcome.NOT_STARTED, f"taken from the queue {late:.1f} s too late")
        if message.expect.schema is None:
            return None
        try:
            compile_schema(message.expect.schema)  # before money is spent on an answer that cannot be checked
        except SchemaUnusableError as exc:
            return self._without_response(Outcome.BAD_REQUEST, f"responseSchema: {exc}")
        return None

    async def _respond(self, client: ModelClient, message: CallMessage) -> ResultMessage:
        self._begun = begun = _clock()
        self.sent = self._requesting = True
        try:
            response = await client.send(message.path, message.body, message.timeout_seconds)
        finally:
            self._requesting = False
        latency = _clock() - begun
        now = self._wall_clock()
        structured = message.expect.batched or message.expect.schema is not None
        if len(response.body) <= (INLINE_STRUCTURED_BYTES if structured else INLINE_BYTES):
            return unpack(message, response, worker=self._worker, now=now, latency_seconds=latency)
        return await asyncio.to_thread(unpack, message, response, worker=self._worker, now=now, latency_seconds=latency)

    def _without_response(self, outcome: Outcome, error: str) -> ResultMessage:
        message = self.delivery.message
        return ResultMessage(
            epoch=message.epoch,
            call=message.call,
            endpoint=message.endpoint,
            worker=self._worker,
            outcome=outcome,
            error=error,
            sent=self.sent,
            latency_seconds=_clock() - self._begun if self._begun is not None else 0.0,
        )


def _clock() -> float:
    """The loop's clock: monotonic, and a fake one in tests."""
    return asyncio.get_running_loop().time()


def _log_failure(result: ResultMessage) -> None:
    """One line, without the server's words: they may quote the prompt."""
    log.info(
        "call %d at %s: %s (HTTP %s, request %s)",
        result.call,
        result.endpoint,
        result.outcome,
        result.http_status or "-",
        result.request_id or "-",
        extra={
            "action": "call_failed",
            "call": result.call,
            "endpoint": result.endpoint,
            "outcome": str(result.outcome),
        },
    )
