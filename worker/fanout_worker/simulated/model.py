"""A simulated model behind an OpenAI-compatible API, without the HTTP: requests in, responses out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from fanout.api.simulated import Simulated
from fanout_worker.simulated.chat import ChatRequest
from fanout_worker.simulated.embeddings import EmbeddingRequest
from fanout_worker.simulated.errors import ApiError
from fanout_worker.simulated.faults import Answer, Fault, FaultSampler
from fanout_worker.simulated.latency import LatencySampler
from fanout_worker.simulated.limits import Limits, Refusal
from fanout_worker.simulated.stats import Stats

_OVERLOAD_RETRY_SECONDS = 1.0
_LIMIT_NAMES = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)"}


@dataclass(frozen=True, slots=True)
class SimulatedResponse:
    """A response: `body` is the JSON, or bytes where the response is not JSON at all (garbage)."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any] | bytes


class SimulatedModel:
    """Answers requests as a model API would: limits first, then failures by their shares, then latency.

    Answers depend on the request and the seed alone; failures and latency on the seed and the order of requests.
    `clock` gives seconds (default: the event loop's time).
    """

    def __init__(
        self, settings: Simulated, *, clock: Callable[[], float] | None = None, rng: Random | None = None
    ) -> None:
        self._settings = settings
        clock = clock or _loop_time
        rng = rng or Random(settings.seed)
        self._latency = LatencySampler(settings.latency, rng)
        self._faults = FaultSampler(settings, rng)
        self._limits = Limits(
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            concurrency=settings.concurrency,
            clock=clock,
            # By then about half of the calls in flight have ended.
            concurrency_retry_seconds=max(0.05, settings.latency.p50_milliseconds / 1000),
        )
        self._limited = settings.requests_per_minute is not None or settings.tokens_per_minute is not None
        self._number = 0
        self.stats = Stats(clock)

    async def respond(self, path: str, body: dict[str, Any]) -> SimulatedResponse:
        """The response to POST `path` (with or without /v1). Never raises, but when it is cancelled."""
        self.stats.arrived()
        try:
            request = _read(path, body)
            answer = self._admit(request)
        except ApiError as error:
            return self._refused(error)
        self.stats.entered()
        try:
            return await self._serve(answer)
        except asyncio.CancelledError:
            self.stats.cancelled()
            raise
        finally:
            self.stats.left()
            self._limits.leave()

    def models(self) -> SimulatedResponse:
        """The response to GET /v1/models. Any model name is answered; one is listed."""
        self.stats.arrived()
        model = {"id": "simulated", "object": "model", "created": 0, "owned_by": "fanout"}
        return self._response(200, {}, {"object": "list", "data": [model]})

    def refuse(self, error: ApiError) -> SimulatedResponse:
        """The response to a request that did not get as far as the model: a wrong key, a body that is not JSON."""
        self.stats.arrived()
        return self._refused(error)

    def _admit(self, request: ChatRequest | EmbeddingRequest) -> Answer:
        """The answer, once the limits allow it: they count its tokens, and are asked before work is put into it."""
        if (refusal := self._limits.refusal(request.prompt_tokens)) is None:
            answer = self._answer(request)
            refusal = self._limits.refusal(answer.tokens)
            if refusal is None:
                self._limits.enter(answer.tokens)
                return answer
        raise self._too_many(refusal, request)

    def _answer(self, request: ChatRequest | EmbeddingRequest) -> Answer:
        if isinstance(request, ChatRequest):
            return request.answer(self._settings.seed)
        return request.answer(self._settings.seed, self._settings.embedding_dimensions)

    async def _serve(self, answer: Answer) -> SimulatedResponse:
        # Both are drawn for every call, so that one setting does not change what the other draws.
        fault, seconds = self._faults.draw(), self._latency.sample()
        if fault == Fault.OVERLOADED:
            # Refused at the door: that takes no time.
            message = "The engine is currently overloaded, please try again later."
            return self._refused(
                ApiError(503, message, type="server_error", retry_after_seconds=_OVERLOAD_RETRY_SECONDS)
            )
        if fault == Fault.HANG:
            await asyncio.get_running_loop().create_future()  # until the client goes
        if seconds > 0:
            await asyncio.sleep(seconds)
        if fault == Fault.ERROR:
            message = "The server had an error while processing your request. Sorry about that!"
            return self._refused(ApiError(500, message, type="server_error"))
        number = self._number + 1
        body = answer.body(number) if fault is None else self._faults.spoil(fault, answer, number)
        self.stats.used(answer.prompt_tokens, answer.completion_tokens)
        return self._response(200, {}, body)

    def _too_many(self, refusal: Refusal, request: ChatRequest | EmbeddingRequest) -> ApiError:
        if refusal.limit == "concurrency":
            message = f"Rate limit reached for {request.model}: {self._limits.concurrency} concurrent requests."
            kind = "requests"
        else:
            kind = refusal.limit
            window = self._limits.requests if kind == "requests" else self._limits.tokens
            limit = window.limit if window is not None else 0
            message = f"Rate limit reached for {request.model} on {_LIMIT_NAMES[kind]}: Limit {limit}."
            if math.isinf(refusal.retry_after_seconds):
                message = (
                    f"Request too large for {request.model} on {_LIMIT_NAMES[kind]}: Limit {limit}, Requested at least "
                    f"{request.prompt_tokens}. The input or output tokens must be reduced in order to run successfully."
                )
        wait = None if math.isinf(refusal.retry_after_seconds) else refusal.retry_after_seconds
        if wait is not None:
            message += f" Please try again in {wait:.3f}s."
        return ApiError(429, message, type=kind, code="rate_limit_exceeded", retry_after_seconds=wait)

    def _refused(self, error: ApiError) -> SimulatedResponse:
        return self._response(error.status, error.headers(), error.body())

    def _response(self, status: int, headers: dict[str, str], body: dict[str, Any] | bytes) -> SimulatedResponse:
        self._number += 1
        headers["x-request-id"] = f"req_{self._number:012d}"
        if self._limited:
            headers |= self._limits.headers()
        self.stats.answered(status)
        return SimulatedResponse(status, headers, body)


def _read(path: str, body: dict[str, Any]) -> ChatRequest | EmbeddingRequest:
    if path.removeprefix("/v1") == "/chat/completions":
        return ChatRequest.read(body)
    if path.removeprefix("/v1") == "/embeddings":
        return EmbeddingRequest.read(body)
    raise ApiError(404, f"Invalid URL (POST {path})")


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
