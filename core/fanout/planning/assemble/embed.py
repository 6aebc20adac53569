"""Embeddings: the API takes a list of inputs by itself.

API reference: OpenAI, "Create embeddings" (input, dimensions, encoding_format).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from fanout.api.endpoint import ModelEndpointSpec
from fanout.broker.messages import Expect
from fanout.dispatch.lane import Assembled

PATH = "/embeddings"


@dataclass(frozen=True)
class AssembleEmbed:
    """Builds embedding requests. The tasks' requests are JSON strings."""

    dimensions: int | None = None

    def __call__(self, requests: Sequence[bytes], endpoint: ModelEndpointSpec, repair: bytes | None) -> Assembled:  # noqa: ARG002
        body: dict[str, Any] = {"model": endpoint.model, "input": [msgspec.Raw(request) for request in requests]}
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        return Assembled(PATH, msgspec.json.encode(body), Expect(kind="embed", tasks=len(requests)))
