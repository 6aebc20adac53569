"""The simulated model inside the worker: no server, no socket, the same answers."""

from __future__ import annotations

import asyncio

import msgspec

from fanout.api.simulated import Simulated
from fanout_worker.clients.base import CallTimeoutError, ModelClient, RequestRefusedError, Response
from fanout_worker.simulated.model import SimulatedModel


class SimulatedClient(ModelClient):
    """Asks a SimulatedModel of its own. Calls to it share its rate limits, as calls to a server do."""

    def __init__(self, settings: Simulated) -> None:
        self._model = SimulatedModel(settings)

    async def send(self, path: str, body: bytes, timeout_seconds: float) -> Response:
        try:
            request = msgspec.json.decode(body, type=dict)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise RequestRefusedError(f"the request's body is not a JSON object: {exc}") from exc
        if request.get("model") is None:  # an endpoint with api: Simulated need not name one
            request["model"] = "simulated"
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await self._model.respond(path, request)
        except TimeoutError:
            raise CallTimeoutError(f"the simulated model did not answer within {timeout_seconds:g} s") from None
        content = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
        return Response(answer.status, {name.lower(): value for name, value in answer.headers.items()}, content)

    async def close(self) -> None:
        """Nothing to close."""
