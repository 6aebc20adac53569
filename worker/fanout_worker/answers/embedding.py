"""Embeddings: vectors as little-endian float32, whether the server sent numbers or base64."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from typing import Any

from fanout.broker.messages import Answer, Expect
from fanout_worker.answers.chat import UnexpectedBodyError


def read_embeddings(body: Any, expect: Expect) -> list[Answer]:
    """One vector per task, in their order; raises UnexpectedBodyError for a wrong count or what is no vector."""
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, list):
        raise UnexpectedBodyError("the response has no data: is the endpoint's url that of an OpenAI-compatible API?")
    if len(data) != expect.tasks:
        raise UnexpectedBodyError(f"the response has {len(data)} embeddings for {expect.tasks} inputs")
    vectors: dict[int, bytes] = {}
    for position, entry in enumerate(data):
        if not isinstance(entry, dict):
            raise UnexpectedBodyError(f"data[{position}] is not an object")
        index = entry.get("index", position)
        if not isinstance(index, int) or not 0 <= index < expect.tasks or index in vectors:
            raise UnexpectedBodyError(
                f"data[{position}].index is {str(index)[:20]}: each of 0 to {expect.tasks - 1} must be there once"
            )
        vectors[index] = _vector(entry.get("embedding"), position)
    return [Answer(value=vectors[i]) for i in range(expect.tasks)]


def _vector(embedding: Any, position: int) -> bytes:
    numbers = _from_base64(embedding) if isinstance(embedding, str) else _from_numbers(embedding)
    if not numbers or not all(map(math.isfinite, numbers)):
        raise UnexpectedBodyError(f"data[{position}].embedding is not a list of numbers (or base64 of float32)")
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()


def _from_base64(text: str) -> array[float]:
    numbers = array("f")
    try:
        numbers.frombytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return array("f")
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _from_numbers(embedding: Any) -> array[float]:
    if not isinstance(embedding, list):
        return array("f")
    try:
        return array("f", embedding)
    except (TypeError, OverflowError):
        return array("f")
