"""A line of results.jsonl (design.md §6)."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from fanout.fanin.accounting import money
from fanout.fanin.answers import Answered, ChunkAnswers
from fanout.fanin.combine.port import CombineStrategy
from fanout.ledger.errors import error_json
from fanout.ledger.jobs import Ending
from fanout.ledger.schema import Settled

STATUS = {Settled.OPEN: "Open", Settled.SUCCEEDED: "Succeeded", Settled.FAILED: "Failed", Settled.SKIPPED: "Skipped"}


def result_line(chunk: ChunkAnswers, combine: CombineStrategy, stop: Ending | None = None) -> dict[str, Any]:
    """One chunk as results show it; values are raw JSON, to be encoded by msgspec. `stop`: why chunks were skipped."""
    succeeded = chunk.state == Settled.SUCCEEDED
    used = [a for a in chunk.answers if a.endpoint is not None]
    line = {
        "item": chunk.item,
        "chunk": chunk.index,
        "title": chunk.title,
        "status": STATUS[chunk.state],
        "value": combine.value(chunk.answers) if succeeded else None,
        "endpoint": used[0].endpoint if used else None,
        "attempts": sum(a.attempts for a in chunk.answers),
        "latencyMilliseconds": max((a.latency_ms or 0 for a in used), default=None),
        "usage": {
            "inputTokens": sum(a.input_tokens for a in chunk.answers),
            "outputTokens": sum(a.output_tokens for a in chunk.answers),
        },
        "cost": money(sum(a.cost for a in chunk.answers)),
        "error": chunk.failure() or _skipped(chunk, stop),
    }
    if len(chunk.answers) > 1:
        line["answers"] = [_answer(a) for a in chunk.answers]
    return line


def _skipped(chunk: ChunkAnswers, stop: Ending | None) -> dict[str, Any] | None:
    if chunk.state != Settled.SKIPPED or stop is None:
        return None
    return json.loads(error_json(stop.reason, stop.message))  # type: ignore[no-any-return]


def _answer(answer: Answered) -> dict[str, Any]:
    return {
        "branch": answer.branch,
        "sample": answer.sample,
        "status": STATUS[answer.state],
        "value": answer.json_value() if answer.state == Settled.SUCCEEDED else None,
        "endpoint": answer.endpoint,
        "finishReason": answer.finish_reason,
        "error": json.loads(answer.error) if answer.error else None,
    }


def encode(line: dict[str, Any]) -> bytes:
    """JSON, with its line feed."""
    return msgspec.json.encode(line) + b"\n"
