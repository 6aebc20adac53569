"""Passed-through requests: a batch file's line, sent as it is.

API reference: OpenAI, "Batch API", the request input object (custom_id, method, url, body).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from fanout.api.branch import PassthroughModel
from fanout.api.endpoint import ModelEndpointSpec
from fanout.broker.messages import Expect
from fanout.dispatch.lane import Assembled


@dataclass(frozen=True)
class AssemblePassthrough:
    """Builds the request of one line: {"url": …, "body": {…}}."""

    model: PassthroughModel = PassthroughModel.REPLACE

    def __call__(self, requests: Sequence[bytes], endpoint: ModelEndpointSpec, repair: bytes | None) -> Assembled:  # noqa: ARG002
        line = msgspec.json.decode(requests[0])
        body = dict(line["body"])
        if self.model == PassthroughModel.REPLACE and endpoint.model is not None:
            body["model"] = endpoint.model
        return Assembled(path_below(line["url"]), msgspec.json.encode(body), Expect(kind="passthrough"))


def path_below(url: str) -> str:
    """The path to add to an endpoint's base URL, which ends in /v1: a doubled /v1 is one. Host and query are not taken over."""
    path = urlsplit(url).path
    return (path.removeprefix("/v1") if f"{path}/".startswith("/v1/") else path) or "/"
