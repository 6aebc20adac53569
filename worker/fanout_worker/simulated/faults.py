"""The failures of real models, in the shares asked for: each call has at most one."""

from __future__ import annotations

from enum import StrEnum
from random import Random
from typing import Any

import msgspec

from fanout.api.simulated import Simulated
from fanout_worker.simulated.chat import ChatAnswer
from fanout_worker.simulated.embeddings import EmbeddingAnswer
from fanout_worker.simulated.prompt import cut_to_tokens, estimate_tokens

Answer = ChatAnswer | EmbeddingAnswer


class Fault(StrEnum):
    """What goes wrong with a call."""

    ERROR = "error"
    OVERLOADED = "overloaded"
    HANG = "hang"
    TRUNCATED = "truncated"
    GARBAGE = "garbage"
    EMPTY = "empty"


class FaultSampler:
    """Draws a call's fault. Shares that add up to more than 100 % leave the last ones less."""

    def __init__(self, settings: Simulated, rng: Random) -> None:
        self._rng = rng
        self._shares = [
            (Fault.ERROR, settings.error_percent),
            (Fault.OVERLOADED, settings.overloaded_percent),
            (Fault.HANG, settings.hang_percent),
            (Fault.TRUNCATED, settings.truncated_percent),
            (Fault.GARBAGE, settings.garbage_percent),
            (Fault.EMPTY, settings.empty_percent),
        ]
        self._any = any(percent for _, percent in self._shares)

    def draw(self) -> Fault | None:
        """The fault of the next call; None: it goes well."""
        if not self._any:
            return None
        drawn = self._rng.random() * 100
        for fault, percent in self._shares:
            drawn -= percent
            if drawn < 0:
                return fault
        return None

    def spoil(self, fault: Fault, answer: Answer, number: int) -> dict[str, Any] | bytes:
        """The body of a response with a fault of content (truncated, garbage, empty)."""
        if isinstance(answer, EmbeddingAnswer):
            keep = len(answer.vectors) // 2 if fault == Fault.TRUNCATED else 0
            if fault != Fault.GARBAGE:
                answer.vectors = answer.vectors[:keep]
            return _broken(answer.body(number)) if fault == Fault.GARBAGE else answer.body(number)
        if fault == Fault.GARBAGE and not answer.structured:
            # A text cannot be wrong by itself: here the response is.
            return _broken(answer.body(number))
        if fault == Fault.TRUNCATED:
            answer.finish_reason = "length"
            answer.contents = [_half(content) for content in answer.contents]
        elif fault == Fault.EMPTY:
            answer.contents = [""] * len(answer.contents)
        else:
            kind = self._rng.choice((_cut_json, _without_a_field, _fenced))
            answer.contents = [kind(content) for content in answer.contents]
        return answer.body(number)


def _half(content: str) -> str:
    return cut_to_tokens(content, max(1, estimate_tokens(content) // 2))


def _broken(body: dict[str, Any]) -> bytes:
    encoded = msgspec.json.encode(body)
    return encoded[: len(encoded) * 2 // 3]


def _cut_json(content: str) -> str:
    """JSON without its end, and finish_reason does not say so."""
    return content[: max(1, len(content) * 2 // 3)]


def _without_a_field(content: str) -> str:
    """The last field is missing; of a batch, the last item's value."""
    try:
        value = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return _cut_json(content)  # max_tokens has cut it already
    owner = value
    if isinstance(owner, dict) and isinstance(owner.get("items"), list) and owner["items"]:
        owner = owner["items"][-1]
    if not isinstance(owner, dict) or not owner:
        return "I am not sure what is asked for."
    owner.popitem()
    return msgspec.json.encode(value).decode()


def _fenced(content: str) -> str:
    """Right, but with talk around it."""
    return f"Sure! Here is the JSON you asked for:\n\n```json\n{content}\n```\n\nLet me know if you need anything else."
