"""The OpenAI client against servers on loopback that behave well, badly, and worse."""

import asyncio
import gzip
import logging
import socket
import ssl
import zlib

import pytest
import trustme
from aiohttp import web

from fanout.broker.outcome import Outcome
from fanout_worker.clients.base import (
    CallTimeoutError,
    ConnectionFailedError,
    CredentialMissingError,
    RequestRefusedError,
    ResponseUnusableError,
)
from fanout_worker.clients.openai import OpenAIClient

SECRET = "sk-not-a-real-one-123"


class Server:
    """An aiohttp server whose answer is a test's own function; counts connections and keeps the requests."""

    def __init__(self, handler):
        self.handler = handler
        self.requests, self.connections = [], set()

    async def start(self, tls=None, cancel=False):
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self.handle)
        self.runner = web.AppRunner(app, access_log=None, handler_cancellation=cancel, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.runner.addresses[0][1]}/v1"

    async def handle(self, request):
        self.connections.add(request.transport.get_extra_info("peername"))
        self.requests.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        return await self.handler(request)


@pytest.fixture
async def world():
    """Starts servers and clients, and closes them."""
    servers, clients = [], []

    async def start(handler, tls=None, cancel=False, **options):
        server = Server(handler)
        await server.start(tls, cancel)
        servers.append(server)
        client = OpenAIClient(server.url, **options)
        clients.append(client)
        return server, client

    yield start
    for client in clients:
        await client.close()
    for server in servers:
        await server.runner.cleanup()


async def fine(request):
    return web.json_response({"ok": True}, headers={"X-Request-Id": "r1"})


async def test_request_and_response(world):
    server, client = await world(
        fine,
        headers={"X-Team": "blue", "user-agent": "mine", "authorization": "stale"},
        credential=lambda: SECRET + "\n",
    )
    response = await client.send("/chat/completions?api-version=2", b'{"a": 1}', 5)
    assert (response.status, response.body, response.headers["x-request-id"]) == (200, b'{"ok": true}', "r1")
    method, path, headers, body = server.requests[0]
    assert (method, path, body) == ("POST", "/v1/chat/completions?api-version=2", b'{"a": 1}')
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["X-Team"] == "blue"
    assert headers["User-Agent"] == "mine"
    assert headers["Content-Type"] == "application/json"


async def test_credential_in_another_header_and_rotated(world):
    keys = iter(["first-key", "second-key"])
    server, client = await world(fine, credential=lambda: next(keys), auth_header="api-key", auth_scheme="")
    await client.send("/a", b"{}", 5)
    await client.send("/a", b"{}", 5)
    assert [headers["api-key"] for _, _, headers, _ in server.requests] == ["first-key", "second-key"]
    assert not any("Authorization" in headers for _, _, headers, _ in server.requests)


async def test_missing_credential_sends_nothing(world):
    server, client = await world(fine, credential=lambda: "")
    with pytest.raises(CredentialMissingError) as caught:
        await client.send("/a", b"{}", 5)
    assert (caught.value.outcome, caught.value.sent, server.requests) == (Outcome.UNAUTHORIZED, False, [])


async def test_connections_are_kept_alive(world):
    server, client = await world(fine)
    for _ in range(20):
        await client.send("/a", b"{}", 5)
    assert len(server.connections) == 1
    await asyncio.gather(*(client.send("/a", b"{}", 5) for _ in range(200)))
    assert len(server.requests) == 220
    assert len(server.connections) <= 200


async def test_connections_are_as_many_as_the_calls_in_flight(world):
    running, most, full = 0, 0, asyncio.Event()

    async def slow(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 150:
            full.set()
        await full.wait()
        running -= 1
        return web.Response()

    server, client = await world(slow)
    await asyncio.gather(*(client.send("/a", b"{}", 30) for _ in range(150)))
    assert most == len(server.connections) == 150


async def test_refused():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = OpenAIClient(f"http://127.0.0.1:{unused.getsockname()[1]}/v1")
        with pytest.raises(ConnectionFailedError, match=r"http://127\.0\.0\.1:\d+/v1/a: connection refused") as caught:
            await client.send("/a", b"{}", 5)
        assert caught.value.sent is False
        await client.close()


async def test_name_that_does_not_resolve():
    client = OpenAIClient("http://nowhere.invalid/v1")
    with pytest.raises(ConnectionFailedError, match="cannot be resolved") as caught:
        await client.send("/a", b"{}", 20)
    assert caught.value.sent is False
    await client.close()


async def test_hang_up_without_an_answer(world):
    async def hang_up(request):
        request.transport.abort()
        return web.Response()

    _, client = await world(hang_up)
    with pytest.raises(ConnectionFailedError, match=r"127\.0\.0\.1") as caught:
        await client.send("/a", b"{}", 5)
    assert caught.value.sent is True


async def test_hang_up_in_the_middle_of_the_body(world):
    async def half(request):
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        request.transport.close()
        return response

    _, client = await world(half)
    with pytest.raises(ConnectionFailedError, match="middle of the answer") as caught:
        await client.send("/a", b"{}", 5)
    assert caught.value.sent is True


async def test_server_that_speaks_something_else():
    async def talk(reader, writer):
        await reader.read(10)
        writer.write(b"220 mail.example ESMTP\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    client = OpenAIClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(ResponseUnusableError, match="does not answer in HTTP"):
        await client.send("/a", b"{}", 5)
    await client.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("begin", [False, True])
async def test_timeout_covers_headers_and_body(world, begin):
    gone = asyncio.Event()

    async def stall(request):
        response = web.StreamResponse()
        try:
            if begin:
                await response.prepare(request)
                while True:
                    await response.write(b" ")
                    await asyncio.sleep(0.02)
            await asyncio.sleep(30)
        finally:
            gone.set()

    _, client = await world(stall)
    with pytest.raises(CallTimeoutError, match=r"within 0\.2 s"):
        await client.send("/a", b"{}", 0.2)
    if begin:  # a write tells the server that its client has gone
        await asyncio.wait_for(gone.wait(), 5)


async def test_cancelling_closes_the_connection(world):
    closed = asyncio.Event()

    async def stall(request):
        try:
            await asyncio.sleep(30)
        finally:
            closed.set()

    _, client = await world(stall, cancel=True)
    call = asyncio.create_task(client.send("/a", b"{}", 30))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(closed.wait(), 5)


async def test_redirects_are_not_followed(world):
    async def redirect(request):
        return web.Response(status=307, headers={"Location": "/v1/elsewhere"})

    server, client = await world(redirect, credential=lambda: SECRET)
    assert (await client.send("/a", b"{}", 5)).status == 307
    assert len(server.requests) == 1


async def test_cookies_are_not_kept(world):
    async def cookie(request):
        return web.Response(headers={"Set-Cookie": "a=b"})

    server, client = await world(cookie)
    await client.send("/a", b"{}", 5)
    await client.send("/a", b"{}", 5)
    assert "Cookie" not in server.requests[1][2]


async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def announced(request):
    return web.Response(body=b"x" * 200_000)


async def bomb(request):
    return web.Response(body=gzip.compress(b"x" * 100_000_000), headers={"Content-Encoding": "gzip"})


async def odd_packing(request):
    return web.Response(body=b"x", headers={"Content-Encoding": "br"})


async def not_packed(request):
    return web.Response(body=b"x" * 100, headers={"Content-Encoding": "gzip"})


async def cut_packing(request):
    return web.Response(body=gzip.compress(b"x" * 1000)[:-9], headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (endless, "larger than"),
        (announced, "larger than"),
        (bomb, "larger than"),
        (odd_packing, "packed as 'br'"),
        (not_packed, "but is not"),
        (cut_packing, "ends in the middle"),
    ],
)
async def test_response_that_cannot_be_taken(world, handler, words):
    _, client = await world(handler, max_response_bytes=100_000)
    with pytest.raises(ResponseUnusableError, match=words) as caught:
        await client.send("/a", b"{}", 10)
    assert caught.value.outcome == Outcome.SERVER_ERROR


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_packed_response_is_unpacked(world, encoding, pack):
    async def packed(request):
        return web.Response(body=pack(b"x" * 99_000), headers={"Content-Encoding": encoding})

    server, client = await world(packed, max_response_bytes=100_000)
    assert (await client.send("/a", b"{}", 5)).body == b"x" * 99_000
    assert server.requests[0][2]["Accept-Encoding"] == "identity"


async def test_chunked_response(world):
    async def chunked(request):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(3):
            await response.write(b"abc")
        return response

    server, client = await world(chunked)
    for _ in range(3):
        assert (await client.send("/a", b"{}", 5)).body == b"abcabcabc"
    assert len(server.connections) == 1


async def test_path_that_leads_elsewhere_is_refused(world):
    server, client = await world(fine, credential=lambda: SECRET)
    for path in ("@evil.example/", "/../admin", "/a\r\nX: y", ""):
        with pytest.raises(RequestRefusedError, match="not a path"):
            await client.send(path, b"{}", 5)
    assert server.requests == []


async def test_credential_stays_secret(world, caplog):
    caplog.set_level(logging.DEBUG)

    async def echo(request):
        key = request.headers["Authorization"]
        if request.path.endswith("/gone"):
            request.transport.abort()
        return web.Response(status=401, text=f"Incorrect key: {key}", headers={"X-Request-Id": key})

    server, client = await world(echo, credential=lambda: SECRET)
    response = await client.send("/a", b"{}", 5)
    assert response.body == b"Incorrect key: Bearer [credential]"
    with pytest.raises(ConnectionFailedError) as caught:
        await client.send("/gone", b"{}", 5)
    assert SECRET in server.requests[0][2]["Authorization"]
    for text in (repr(response), repr(client), str(vars(client)), str(caught.value), repr(caught.value), caplog.text):
        assert SECRET not in text


async def test_tls_by_ssl_cert_file(world, monkeypatch, tmp_path):
    authority = trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(served)
    _, stranger = await world(fine, tls=served)
    with pytest.raises(ConnectionFailedError, match="certificate is not trusted") as caught:
        await stranger.send("/a", b"{}", 5)
    assert "SSL_CERT_FILE" in str(caught.value)
    assert caught.value.sent is False
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    _, friend = await world(fine, tls=served)
    assert (await friend.send("/a", b"{}", 5)).status == 200


async def test_https_to_a_plain_server(world):
    server, _ = await world(fine)
    client = OpenAIClient(server.url.replace("http:", "https:"))
    with pytest.raises(ConnectionFailedError, match="does the server speak https") as caught:
        await client.send("/a", b"{}", 5)
    assert caught.value.sent is False
    await client.close()


async def test_proxy_of_the_environment(world, monkeypatch):
    proxy, _ = await world(fine)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
    client = OpenAIClient("http://models.invalid/v1")
    assert (await client.send("/a", b"{}", 5)).status == 200
    assert proxy.requests[0][2]["Host"] == "models.invalid"
    await client.close()
