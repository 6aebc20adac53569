"""`fanout simulate`: a model server for trying jobs, tests and benchmarks, without a model."""

from __future__ import annotations

import asyncio
import errno
import re
import signal
from collections.abc import Callable
from typing import Annotated

import typer

from fanout.api.simulated import Latency, Simulated
from fanout_worker.simulated.server import serve

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_LONGEST_MILLISECONDS = 3_600_000
_SHARES = "Percent of the calls that "


def simulate(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8901,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    latency: Annotated[
        str, typer.Option(help='Time per call: "500ms", or median and 99th percentile "500ms,2s".')
    ] = "0",
    stragglers: Annotated[
        str, typer.Option(help='Percent × factor: "1x20" makes 1 % of the calls 20 × slower.')
    ] = "0x1",
    rpm: Annotated[int | None, typer.Option(help="Requests in any 60 s; more get 429 with Retry-After.", min=1)] = None,
    tpm: Annotated[int | None, typer.Option(help="Tokens in any 60 s, likewise.", min=1)] = None,
    concurrency: Annotated[int | None, typer.Option(help="Calls at one moment, likewise.", min=1)] = None,
    error_rate: Annotated[str, typer.Option(help=_SHARES + "answer 500.")] = "0",
    overloaded_rate: Annotated[str, typer.Option(help=_SHARES + "answer 503 with Retry-After.")] = "0",
    hang_rate: Annotated[str, typer.Option(help=_SHARES + "never answer.")] = "0",
    truncated_rate: Annotated[str, typer.Option(help=_SHARES + "are cut short (finish_reason length).")] = "0",
    garbage_rate: Annotated[str, typer.Option(help=_SHARES + "answer something else than was asked for.")] = "0",
    empty_rate: Annotated[str, typer.Option(help=_SHARES + "answer nothing.")] = "0",
    dimensions: Annotated[int, typer.Option(help="Length of an embedding.", min=1, max=8192)] = 64,
    seed: Annotated[int, typer.Option(help="Changes every random choice.")] = 0,
    api_key: Annotated[
        str | None, typer.Option(help="Demand this key; others get 401.", envvar="FANOUT_SIMULATE_API_KEY")
    ] = None,
) -> None:
    """Serve an OpenAI-compatible model that is simulated: latency, rate limits and failures as real ones have them.

    Answers are deterministic; a request with a JSON schema gets a valid instance of it. GET /stats tells what was served.
    """
    settings = Simulated(
        latency=_latency(latency, stragglers),
        requests_per_minute=rpm,
        tokens_per_minute=tpm,
        concurrency=concurrency,
        embedding_dimensions=dimensions,
        seed=seed,
        **_shares(
            {
                "error": error_rate,
                "overloaded": overloaded_rate,
                "hang": hang_rate,
                "truncated": truncated_rate,
                "garbage": garbage_rate,
                "empty": empty_rate,
            }
        ),
    )
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            code = runner.run(_until_stopped(settings, host, port, api_key or None))
    except OSError as error:
        raise _cannot_listen(error, host, port) from error
    raise typer.Exit(code)


async def _until_stopped(settings: Simulated, host: str, port: int, api_key: str | None) -> int:
    """Serves until a signal comes; the exit code: 130 for Ctrl-C, 0 for SIGTERM, which asks for an orderly end."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(code: int) -> None:
        if not stopped.done():
            stopped.set_result(code)

    loop.add_signal_handler(signal.SIGINT, stop, 130)
    loop.add_signal_handler(signal.SIGTERM, stop, 0)
    async with serve(settings, host, port, api_key) as server:
        typer.echo(f"Simulated model at {server.url} (Ctrl-C stops it)")
        return await stopped


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed: it serves more calls per second."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return None
    return uvloop.new_event_loop


def _cannot_listen(error: OSError, host: str, port: int) -> typer.BadParameter:
    if error.errno == errno.EADDRINUSE:
        return _wrong("--port", f"{host}:{port} is in use: stop what listens there, or choose another port")
    if error.errno == errno.EACCES:
        return _wrong("--port", f"this user may not listen on {host}:{port}: choose a port above 1023")
    return _wrong("--host", f"cannot listen on {host}:{port}: {error.strerror or error}")


def _latency(latency: str, stragglers: str) -> Latency:
    parts = latency.split(",")
    if len(parts) > 2:
        raise _wrong(
            "--latency", f'"{latency}" has more than two durations: give a median and a 99th percentile: "500ms,2s"'
        )
    median, *rest = (_milliseconds(part) for part in parts)
    slow = rest[0] if rest else median
    if slow < median:
        raise _wrong("--latency", f'"{latency}": the 99th percentile must be at least the median')
    percent, factor = _stragglers(stragglers)
    return Latency(p50_milliseconds=median, p99_milliseconds=slow, straggler_percent=percent, straggler_factor=factor)


def _milliseconds(text: str) -> int:
    """Of "500ms", "2s", "1.5m", or plain seconds."""
    found = _DURATION.fullmatch(text.strip())
    if found is None:
        raise _wrong("--latency", f'"{text}" is not a duration: write it as 500ms, 2s or 0.5 (seconds)')
    milliseconds = round(float(found[1]) * _SECONDS[found[2] or "s"] * 1000)
    if milliseconds > _LONGEST_MILLISECONDS:
        raise _wrong("--latency", f'"{text}" is longer than an hour')
    return milliseconds


def _stragglers(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)\s*%?\s*[x×]\s*(\d+)", text.strip())
    if found is None:
        raise _wrong("--stragglers", f'"{text}" is not percent × factor: write 1x20 for 1 % of the calls 20 × slower')
    percent, factor = int(found[1]), int(found[2])
    if percent > 100 or not 1 <= factor <= 1000:
        raise _wrong("--stragglers", f'"{text}": the percentage goes from 0 to 100, the factor from 1 to 1000')
    return percent, factor


def _shares(given: dict[str, str]) -> dict[str, int]:
    shares = {f"{name}_percent": _percent(f"--{name}-rate", text) for name, text in given.items()}
    if (total := sum(shares.values())) > 100:
        options = ", ".join(f"--{name}-rate" for name, text in given.items() if text.strip(" %") != "0")
        raise _wrong(options, f"the shares add up to {total} %: a call fails in one way only, so at most 100 % in all")
    return shares


def _percent(option: str, text: str) -> int:
    found = re.fullmatch(r"(\d+)\s*%?", text.strip())
    if found is None or int(found[1]) > 100:
        raise _wrong(option, f'"{text}" is not a share: write a whole number of percent from 0 to 100, such as 5 or 5%')
    return int(found[1])


def _wrong(option: str, message: str) -> typer.BadParameter:
    return typer.BadParameter(message, param_hint=option)
