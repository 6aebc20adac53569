"""Answers of /v1/embeddings: unit vectors that depend on the text alone."""

from __future__ import annotations

import base64
import math
import struct
from dataclasses import dataclass
from hashlib import shake_128
from typing import Any

from fanout_worker.simulated.errors import ApiError
from fanout_worker.simulated.prompt import estimate_tokens
from fanout_worker.simulated.request import check_integer, check_model, invalid_value, missing, wrong_type

_MAX_INPUTS = 2048
_MAX_DIMENSIONS = 8192
_ENCODINGS = ("float", "base64")


@dataclass(slots=True)
class EmbeddingAnswer:
    """The vectors of a request, before a failure may spoil them."""

    model: str
    vectors: list[list[float]]
    encoding: str
    prompt_tokens: int

    @property
    def completion_tokens(self) -> int:
        """Embeddings have no output tokens."""
        return 0

    @property
    def tokens(self) -> int:
        """What counts against a limit of tokens."""
        return self.prompt_tokens

    def body(self, number: int) -> dict[str, Any]:  # noqa: ARG002 - embedding responses have no id
        """The response's JSON."""
        encode = _base64 if self.encoding == "base64" else list
        data = [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(self.vectors)
        ]
        usage = {"prompt_tokens": self.prompt_tokens, "total_tokens": self.prompt_tokens}
        return {"object": "list", "data": data, "model": self.model, "usage": usage}


@dataclass(slots=True)
class EmbeddingRequest:
    """A checked request."""

    model: str
    texts: list[str]
    encoding: str
    dimensions: int | None
    prompt_tokens: int

    @classmethod
    def read(cls, body: dict[str, Any]) -> EmbeddingRequest:
        """Checks `body`. Raises ApiError (400)."""
        model = check_model(body)
        texts = _check_input(body)
        encoding = body.get("encoding_format", "float")
        if encoding not in _ENCODINGS:
            raise invalid_value("encoding_format", encoding, _ENCODINGS)
        dimensions = check_integer(body, "dimensions", 1, _MAX_DIMENSIONS)
        return cls(model, texts, encoding, dimensions, sum(estimate_tokens(text) for text in texts))

    def answer(self, seed: int, dimensions: int) -> EmbeddingAnswer:
        """The vectors, of `dimensions` where the request does not say."""
        length = self.dimensions or dimensions
        vectors = [unit_vector(text, length, seed) for text in self.texts]
        return EmbeddingAnswer(self.model, vectors, self.encoding, self.prompt_tokens)


def unit_vector(text: str, dimensions: int, seed: int = 0) -> list[float]:
    """A vector of length 1 that depends on the text (and the seed) alone."""
    digest = shake_128(f"{seed}\x00{text}".encode("utf-8", "surrogatepass")).digest(2 * dimensions)
    # An odd numerator is never zero, so that there is always a direction.
    values = [2 * value + 1 for value in struct.unpack(f"<{dimensions}h", digest)]
    length = math.sqrt(sum(value * value for value in values))
    return [round(value / length, 8) for value in values]


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _check_input(body: dict[str, Any]) -> list[str]:
    """The texts: given as one, as several, or as tokens."""
    if body.get("input") is None:
        raise missing("input")
    given = body["input"]
    entries = [given] if isinstance(given, str) or _is_tokens(given) else given
    if not isinstance(entries, list):
        raise wrong_type("input", "a string or an array of strings", given)
    if len(entries) > _MAX_INPUTS:
        message = (
            f"Invalid 'input': array too long. Expected at most {_MAX_INPUTS} inputs, but got {len(entries)} instead."
        )
        raise ApiError(400, message, param="input", code="array_above_max_length")
    if not entries or any(not entry for entry in entries):
        raise ApiError(400, "Invalid 'input': an input must not be empty.", param="input", code="empty_input")
    return [_check_entry(entry) for entry in entries]


def _check_entry(entry: Any) -> str:
    if isinstance(entry, str):
        return entry
    if _is_tokens(entry):
        return " ".join(map(str, entry))
    raise wrong_type("input", "a string or an array of strings", entry)


def _is_tokens(entry: Any) -> bool:
    return isinstance(entry, list) and bool(entry) and all(type(token) is int for token in entry)
