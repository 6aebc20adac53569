"""The wire messages, version 1. A receiver refuses a version it does not know."""

from __future__ import annotations

from typing import Literal

import msgspec

from fanout.broker.outcome import Outcome

WIRE_VERSION = 1


class Expect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the worker has to make of the response."""

    kind: Literal["chat", "embed", "passthrough"]
    tasks: int = 1
    """How many tasks the call carries: answers come in their order."""
    batched: bool = False
    """Chat only: the answer is {"items": [{"id": "1", "value": …}]}, ids 1 to `tasks`."""
    schema: bytes | None = None
    """JSON Schema (as JSON) of each answer's value; None: the answer is text."""


class CallMessage(msgspec.Struct, frozen=True, kw_only=True, tag="call"):
    """Dispatcher to worker: one request, fully rendered but for the credential."""

    v: int = WIRE_VERSION
    epoch: int
    call: int
    """The call's id in the ledger; with the epoch it names the lease."""
    endpoint: str
    path: str
    """Below the endpoint's base URL: /chat/completions."""
    body: bytes
    """JSON."""
    expect: Expect
    timeout_seconds: float
    start_by: float
    """Unix time after which a worker hands the call back unstarted."""


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens of one call, as the server counted them."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task's share of a response."""

    outcome: Outcome = Outcome.SUCCEEDED
    value: bytes = b""
    """JSON of the value; for an embedding the vector as little-endian float32; for a passthrough the response's body."""
    finish_reason: str = ""
    fault: str = ""
    """What is wrong with the answer, in words that a model can act on (outcome BadOutput)."""
    text: str = ""
    """The answer as the model gave it, where it is at fault: it is shown to the model when it is asked again."""


class ResultMessage(msgspec.Struct, frozen=True, kw_only=True, tag="result"):
    """Worker to aggregator: what became of a call."""

    v: int = WIRE_VERSION
    epoch: int
    call: int
    endpoint: str
    worker: str
    outcome: Outcome
    """Of the call as a whole. Succeeded: `answers` has one entry per task, each with its own outcome."""
    answers: list[Answer] = []
    error: str = ""
    """What went wrong, for people."""
    sent: bool = True
    """Whether the request got as far as the model: such calls count as attempts and may cost."""
    http_status: int | None = None
    request_id: str | None = None
    retry_after_seconds: float | None = None
    usage: TokenUsage | None = None
    """None: the response did not say (or there was none)."""
    latency_seconds: float = 0.0


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """Worker to dispatcher, at start and every few seconds: I live, have so many slots, and hold these calls."""

    v: int = WIRE_VERSION
    worker: str
    endpoint: str
    slots: int
    """Calls the worker takes at once (its prefetch); 0 when it is draining."""
    calls: list[int] = []
    """Leases held."""


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """Dispatcher to the workers of an endpoint: stop these calls."""

    v: int = WIRE_VERSION
    endpoint: str
    calls: list[int]


Report = ResultMessage | Heartbeat
