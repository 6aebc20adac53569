"""The simulated model as an OpenAI-compatible HTTP server."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage

from fanout.api.simulated import Simulated
from fanout_worker.simulated.errors import ApiError
from fanout_worker.simulated.model import SimulatedModel, SimulatedResponse

_MAX_BODY_BYTES = 64 * 1024 * 1024
_BAD_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
    "correctly. The API expects a JSON payload, but what was sent was not valid JSON.)"
)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is up."""

    host: str
    port: int
    model: SimulatedModel
    """What it serves; its `stats` are those of GET /stats."""

    @property
    def origin(self) -> str:
        """http://127.0.0.1:8901: /stats is below it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def url(self) -> str:
        """The base URL of the API: http://127.0.0.1:8901/v1."""
        return f"{self.origin}/v1"


@asynccontextmanager
async def serve(
    settings: Simulated, host: str = "127.0.0.1", port: int = 0, api_key: str | None = None
) -> AsyncIterator[RunningServer]:
    """A server for as long as the context lasts; port 0 takes a free one. Raises OSError where it cannot listen.

    With `api_key`, requests to the API without `Authorization: Bearer <key>` get 401. A client that goes away cancels its
    request; calls in flight at the end are dropped.
    """
    # Not the loop's time: uvloop's stands still within a turn, and limits are strict.
    model = SimulatedModel(settings, clock=time.monotonic)
    # The low-level server: an application's router and middlewares cost a tenth of the throughput, for five paths.
    server = web.Server(
        _Handler(model, api_key), request_factory=_large_request, handler_cancellation=True, access_log=None
    )
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound: int = runner.addresses[0][1]
        yield RunningServer(host, bound, model)
    finally:
        await runner.cleanup()


def _large_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = task.get_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY_BYTES)


class _Handler:
    """Routes a request, decodes it and encodes the response."""

    def __init__(self, model: SimulatedModel, api_key: str | None) -> None:
        self._model = model
        self._key = None if api_key is None else f"Bearer {api_key}".encode()
        self._decode = msgspec.json.Decoder().decode
        self._encode = msgspec.json.encode
        self._own: dict[tuple[str, str], Callable[[], web.Response]] = {
            ("GET", "/stats"): self._stats,
            ("POST", "/stats/reset"): self._reset,
        }

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        path, method = request.path, request.method
        if (own := self._own.get((method, path))) is not None:
            return own()
        try:
            self._check_key(request.headers.get("Authorization"))
            if method == "POST":
                body = self._body(await request.read())
                return self._encoded(await self._model.respond(path, body))
            return self._encoded(self._get(method, path))
        except ApiError as error:
            return self._encoded(self._model.refuse(error))

    def _get(self, method: str, path: str) -> SimulatedResponse:
        if method == "GET" and path in ("/v1/models", "/models"):
            return self._model.models()
        raise ApiError(404, f"Invalid URL ({method} {path})")

    def _check_key(self, given: str | None) -> None:
        if self._key is None:
            return
        if given is None:
            message = "You didn't provide an API key: send it as Authorization: Bearer <key>."
            raise ApiError(401, message)
        if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._key):
            # The key itself is not shown: logs and results carry this message.
            raise ApiError(401, "Incorrect API key provided.", code="invalid_api_key")

    def _body(self, raw: bytes) -> dict[str, Any]:
        try:
            body = self._decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiError(400, _BAD_JSON) from error
        if not isinstance(body, dict):
            raise ApiError(400, _BAD_JSON)
        return body

    def _encoded(self, response: SimulatedResponse) -> web.Response:
        body = response.body if isinstance(response.body, bytes) else self._encode(response.body)
        response.headers["Content-Type"] = "application/json"
        return web.Response(status=response.status, headers=response.headers, body=body)

    def _stats(self) -> web.Response:
        return web.Response(body=self._encode(self._model.stats.snapshot()), content_type="application/json")

    def _reset(self) -> web.Response:
        self._model.stats.reset()
        return self._stats()
