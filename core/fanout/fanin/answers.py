"""A chunk with its answers, as results and reduce steps read it from the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fanout.ledger.schema import Settled


@dataclass(frozen=True)
class Answered:
    """One task of a chunk."""

    branch: str
    sample: int
    state: Settled
    value: bytes | None
    """JSON, or for an embedding the vector as little-endian float32. Absent unless succeeded (or a refusal's body)."""
    is_vector: bool
    error: str | None
    endpoint: str | None
    attempts: int
    latency_ms: int | None
    finish_reason: str | None
    input_tokens: int
    output_tokens: int
    cost: int
    """In 10^-12 of the currency's unit."""
    request_id: str | None = None
    http_status: int | None = None

    def json_value(self) -> msgspec.Raw:
        """The value as JSON; null where there is none."""
        if self.state != Settled.SUCCEEDED or self.value is None:
            return msgspec.Raw(b"null")
        if self.is_vector:
            return msgspec.Raw(json.dumps(memoryview(self.value).cast("f").tolist()).encode())
        return msgspec.Raw(self.value)


@dataclass(frozen=True)
class ChunkAnswers:
    """A chunk, where it comes from, and its answers in the order of branches and samples."""

    chunk: int
    """Position in the job."""
    item: str
    """The item's id."""
    position: int
    """The item's position in the input."""
    index: int
    """Position in the item."""
    count: int
    """Chunks of the item."""
    item_name: str
    fields: bytes | None
    """JSON object of the item's fields."""
    title: str
    state: Settled
    error: str | None
    """Where the chunk failed before it had tasks."""
    answers: list[Answered] = field(default_factory=list)

    def fields_dict(self) -> dict[str, Any]:
        """The item's fields, decoded."""
        return msgspec.json.decode(self.fields) if self.fields else {}

    def failure(self) -> dict[str, Any] | None:
        """The typed error of a failed chunk."""
        if self.state != Settled.FAILED:
            return None
        texts = [self.error, *(a.error for a in self.answers if a.state == Settled.FAILED)]
        return next((json.loads(text) for text in texts if text), None)
