"""A lane: the calls of one branch or one reduce step, which share a list of endpoints and a policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fanout.api.endpoint import ModelEndpointSpec
from fanout.broker.messages import Expect
from fanout.ledger.calls import Call
from fanout.ledger.schema import Stage


@dataclass(frozen=True)
class Assembled:
    """A request, ready for the wire."""

    path: str
    body: bytes
    expect: Expect


class Assemble(Protocol):
    """Builds the request of a call from its tasks' rendered requests (JSON), for an endpoint."""

    def __call__(self, requests: Sequence[bytes], endpoint: ModelEndpointSpec, repair: bytes | None) -> Assembled: ...


@dataclass(frozen=True)
class Lane:
    """How the calls of a branch or a reduce step are made."""

    index: int
    """Position in the job: branches first, then reduce steps."""
    stage: Stage
    endpoints: tuple[str, ...]
    """In the order of failover."""
    timeout_seconds: float
    retry_limit: int
    max_backoff_seconds: float
    assemble: Assemble
    keeps_refusals: bool = False
    """Passthrough: the body of a refusal is part of the result."""

    def turns(self, call: Call) -> list[int]:
        """Positions of the endpoints to try for this call, in order, without those that refused it for good."""
        count = len(self.endpoints)
        order = [(call.turn + i) % count for i in range(count)]
        return [position for position in order if not call.faults >> position & 1]
