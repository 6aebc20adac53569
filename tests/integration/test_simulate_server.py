"""The simulated model over HTTP, and the command that serves it."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from fanout.api.simulated import Latency, Simulated
from fanout_worker.simulated.server import RunningServer, serve

CHAT = {"model": "any", "messages": [{"role": "user", "content": "Compute 17 * 3. Only the number."}]}
COMMAND = "import typer; from fanout.cli.simulate import simulate; app = typer.Typer(); app.command()(simulate); app()"


@asynccontextmanager
async def client(settings: Simulated, **more: Any) -> AsyncIterator[tuple[RunningServer, aiohttp.ClientSession]]:
    async with serve(settings, **more) as server, aiohttp.ClientSession() as session:
        yield server, session


async def stats(server: RunningServer, session: aiohttp.ClientSession) -> dict[str, Any]:
    async with session.get(f"{server.origin}/stats") as response:
        return await response.json()


async def in_flight(server: RunningServer, number: int) -> None:
    """Waits until that many calls are in flight."""
    async with asyncio.timeout(10):
        while server.model.stats.in_flight != number:
            await asyncio.sleep(0.01)


async def test_chat_embeddings_and_models() -> None:
    async with client(Simulated()) as (server, session):
        async with session.post(f"{server.url}/chat/completions", json=CHAT) as response:
            assert response.status == 200
            assert response.headers["x-request-id"]
            assert (await response.json())["choices"][0]["message"]["content"] == "51"
        async with session.post(f"{server.url}/embeddings", json={"model": "any", "input": ["a", "b"]}) as response:
            assert len((await response.json())["data"]) == 2
        async with session.get(f"{server.url}/models") as response:
            assert (await response.json())["data"][0]["object"] == "model"


async def test_it_listens_on_loopback_only() -> None:
    async with serve(Simulated()) as server:
        assert server.host == "127.0.0.1"
        assert server.url == f"http://127.0.0.1:{server.port}/v1"


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/chat/completions", b'{"mod', 400, "could not parse the JSON body"),
        ("/v1/chat/completions", b"[]", 400, "could not parse the JSON body"),
        ("/v1/chat/completions", b"\xff\xfe", 400, "could not parse the JSON body"),
        ("/v1/chat/completions", b'{"model": "any", "messages": "not a list"}', 400, "Invalid type for 'messages'"),
        ("/v1/chat/completions", b'{"messages": []}', 400, "must provide a model"),
        ("/v1/images", b"{}", 404, "Invalid URL (POST /v1/images)"),
    ],
)
async def test_bad_requests_get_the_apis_errors(path: str, body: bytes, status: int, words: str) -> None:
    async with client(Simulated()) as (server, session), session.post(server.origin + path, data=body) as response:
        assert response.status == status
        error = (await response.json())["error"]
        assert words in error["message"]
        assert error["type"] == "invalid_request_error"


async def test_a_wrong_key_is_refused_and_not_repeated() -> None:
    async with client(Simulated(), api_key="right") as (server, session):
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer wr0ng-key"}, 401),
            ({"Authorization": "Bearer right"}, 200),
        ):
            async with session.post(f"{server.url}/chat/completions", json=CHAT, headers=headers) as response:
                assert response.status == status
                assert "wr0ng" not in await response.text()


async def test_429_comes_with_retry_after_and_the_limits() -> None:
    async with client(Simulated(requests_per_minute=1)) as (server, session):
        seen = []
        for _ in range(2):
            async with session.post(f"{server.url}/chat/completions", json=CHAT) as response:
                seen.append((response.status, response.headers.get("Retry-After")))
                assert response.headers["x-ratelimit-limit-requests"] == "1"
        assert seen[0] == (200, None)
        assert seen[1][0] == 429
        assert 55 <= int(seen[1][1] or 0) <= 60


async def test_a_client_that_goes_cancels_its_request() -> None:
    async with client(Simulated(hang_percent=100, concurrency=1)) as (server, session):
        for _ in range(2):
            with pytest.raises(asyncio.TimeoutError):
                await session.post(f"{server.url}/chat/completions", json=CHAT, timeout=aiohttp.ClientTimeout(0.2))
            await in_flight(server, 0)
        assert (await stats(server, session))["cancelled"] == 2


async def test_calls_in_flight_are_seen_and_stats_reset() -> None:
    settings = Simulated(latency=Latency(p50_milliseconds=200, p99_milliseconds=200))
    async with client(settings) as (server, session):

        async def call() -> int:
            async with session.post(f"{server.url}/chat/completions", json=CHAT) as response:
                return response.status

        assert await asyncio.gather(*(call() for _ in range(12))) == [200] * 12
        seen = await stats(server, session)
        assert seen["maxInFlight"] == 12
        assert seen["byStatus"] == {"200": 12}
        assert seen["spanSeconds"] >= 0.2
        async with session.post(f"{server.origin}/stats/reset") as response:
            assert (await response.json())["requests"] == 0


async def test_a_large_request_is_taken() -> None:
    body = json.dumps({"model": "any", "messages": [{"role": "user", "content": "word " * 1_000_000}]}).encode()
    async with client(Simulated()) as (server, session):
        sent = session.post(f"{server.url}/chat/completions", data=io.BytesIO(body))
        async with sent as response:
            assert response.status == 200


async def test_stopping_does_not_wait_for_hanging_calls() -> None:
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(10):
            async with serve(Simulated(hang_percent=100)) as server:
                call = asyncio.create_task(session.post(f"{server.url}/chat/completions", json=CHAT))
                await in_flight(server, 1)
        with pytest.raises(aiohttp.ClientError):
            await call


async def run_command(*args: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMAND, *args, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
async def test_the_command_says_where_it_is_and_stops_cleanly(sent: signal.Signals, code: int) -> None:
    process = await run_command("--port", "0", "--latency", "1ms,5ms", "--stragglers", "1x20", "--error-rate", "0%")
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
    url = next(word for word in line.split() if word.startswith("http"))
    async with aiohttp.ClientSession() as session, session.post(f"{url}/chat/completions", json=CHAT) as response:
        assert response.status == 200
        assert json.loads(await response.read())["choices"]
    process.send_signal(sent)
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, output, errors) == (code, b"", b"")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--latency", "5x"), "is not a duration"),
        (("--latency", "2s,1s"), "at least the median"),
        (("--latency", "1,2,3"), "more than two durations"),
        (("--latency", "2000s,2h"), "is not a duration"),
        (("--latency", "90m"), "longer than an hour"),
        (("--stragglers", "5"), "percent × factor"),
        (("--stragglers", "5x0"), "from 1 to 1000"),
        (("--error-rate", "101"), "whole number"),
        (("--error-rate", "60", "--hang-rate", "60"), "add up to 120 %"),
        (("--port", "99999"), "65535"),
        (("--rpm", "0"), "--rpm"),
    ],
)
async def test_bad_options_end_with_2(args: tuple[str, ...], words: str) -> None:
    process = await run_command(*args)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    # The message is wrapped in a box.
    assert words in " ".join(errors.decode().replace("│", " ").split())


async def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await run_command("--port", str(taken.getsockname()[1]))
        _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 2
    assert "is in use" in " ".join(errors.decode().replace("│", " ").split())
