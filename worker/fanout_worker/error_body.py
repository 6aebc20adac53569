"""The error in a response's body, as OpenAI, Azure, vLLM, llama.cpp, LiteLLM, FastAPI and Ollama write it."""

from __future__ import annotations

from typing import Any, NamedTuple

from fanout_worker.clients.base import Response
from fanout_worker.clients.urls import shown_url
from fanout_worker.json_body import JsonError, clean, read_body

MAX_MESSAGE = 1024
# An error body is read for its words only: a huge one is not worth the time.
MAX_READ = 256 * 1024


class ErrorBody(NamedTuple):
    """What an error response says of itself."""

    message: str = ""
    """The server's own words, at most about 1 kB; what came instead, if it is not JSON."""
    codes: frozenset[str] = frozenset()
    """Its codes and types, in lower case."""
    status: int | None = None
    """The HTTP status that the body names."""
    location: str = ""
    """Where a redirect leads."""


def read_error(response: Response) -> ErrorBody:
    """The error that `response` tells of."""
    location = response.headers.get("location", "")
    location = shown_url(location) if "://" in location[:16] else location.partition("?")[0]
    try:
        body = read_body(response.body[:MAX_READ]) if response.body.strip() else None
    except JsonError:
        return ErrorBody(_not_json(response), location=location[:200])
    return error_in(body)._replace(location=location[:200])


def error_in(body: Any) -> ErrorBody:
    """The error in a JSON body; an empty one where there is none."""
    if not isinstance(body, dict):
        return ErrorBody()
    error = body.get("error")
    if isinstance(error, str):
        return ErrorBody(shorten(error))
    if not isinstance(error, dict):
        error = body  # vLLM's older form, Azure's gateway, FastAPI: the fields stand at the top
    message = next((error[key] for key in ("message", "detail", "msg") if error.get(key)), "")
    inner = error.get("innererror")
    codes = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    return ErrorBody(
        shorten(_worded(message)),
        frozenset(code.lower()[:100] for code in codes if isinstance(code, str)),
        next(
            (status for code in (error.get("code"), body.get("status")) if (status := _status(code)) is not None), None
        ),
    )


def shorten(text: str, limit: int = MAX_MESSAGE) -> str:
    """`text` in one line, cut to `limit` characters."""
    text = " ".join(clean(text[: 4 * limit]).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _worded(message: Any) -> str:
    """FastAPI's detail is a list of faults, each with a place and a message."""
    if isinstance(message, str):
        return message
    if isinstance(message, list):
        faults = [entry for entry in message[:10] if isinstance(entry, dict)]
        return "; ".join(f"{'.'.join(map(str, _place(entry)))}: {entry.get('msg', '')}" for entry in faults)
    return str(message)[: 4 * MAX_MESSAGE]


def _place(entry: dict[str, Any]) -> list[Any]:
    place = entry.get("loc", [])
    return place if isinstance(place, list) else [place]


def _status(code: Any) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else None


def _not_json(response: Response) -> str:
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    if kind == "text/html" or response.body.lstrip()[:1] == b"<":
        return "the server answered with a web page, not the API's JSON"
    return shorten(response.body[: 4 * MAX_MESSAGE].decode("utf-8", "replace"))
