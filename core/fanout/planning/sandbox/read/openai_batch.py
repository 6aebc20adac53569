"""OpenAI batch files: JSON Lines of whole requests (custom_id, method, url, body)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fanout.planning.sandbox.read.jsonl import read_jsonl
from fanout.planning.sandbox.read.record import Broken, Record, Stream, invalid


def read_openai_batch(stream: Stream, name: str, max_bytes: int) -> Iterator[Record | Broken]:
    """One record per line, whose value has custom_id, url and body."""
    for record in read_jsonl(stream, name, max_bytes):
        if isinstance(record, Record) and (fault := _fault(record.value)):
            yield Broken(record.where, record.digest, invalid(f"{record.where}: {fault}"))
        else:
            yield record


def _fault(line: str | dict[str, Any]) -> str:
    """What keeps a line from being a request; empty if nothing does."""
    if isinstance(line, str):
        return 'a text, where a request is asked for: {"custom_id": …, "method": "POST", "url": …, "body": {…}}'
    custom_id, url, method = line.get("custom_id"), line.get("url"), line.get("method", "POST")
    if not isinstance(custom_id, str) or not custom_id:
        return "custom_id is missing, or no string: give each request one of its own"
    if method != "POST":
        return f'request "{custom_id}": method must be "POST"'
    if not isinstance(url, str) or not url.startswith("/"):
        return f'request "{custom_id}": url must be a path such as "/v1/chat/completions"'
    if not isinstance(line.get("body"), dict):
        return f'request "{custom_id}": body must be an object'
    return ""
