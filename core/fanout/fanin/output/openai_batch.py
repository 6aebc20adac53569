"""The batch API's own files: output lines for requests that were answered, error lines for the others.

API reference: OpenAI, "Batch API", the request output object (id, custom_id, response, error).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from fanout.fanin.answers import ChunkAnswers
from fanout.fanin.lines import encode
from fanout.fanin.output.files import replacing
from fanout.fanin.reading import ResultReader
from fanout.fanin.reduce.port import ReduceStep
from fanout.ledger.schema import Settled


class OpenAIBatchOutput(ReduceStep):
    """output.jsonl, and errors.jsonl beside it; match lines by custom_id."""

    def __init__(self, reader: ResultReader, job: str) -> None:
        self._reader = reader
        self._job = job

    async def write(self, path: Path) -> None:
        with replacing(path) as output, replacing(path.with_name("errors.jsonl")) as errors:
            async for chunk in self._reader.chunks():
                file = output if chunk.state == Settled.SUCCEEDED else errors
                file.write(encode(self._line(chunk)))

    def _line(self, chunk: ChunkAnswers) -> dict[str, Any]:
        line: dict[str, Any] = {
            "id": f"batch_req_{self._job}_{chunk.chunk}",
            "custom_id": chunk.item,
            "response": None,
            "error": None,
        }
        answer = chunk.answers[0] if chunk.answers else None
        error = chunk.failure()
        status = (answer.http_status if answer else None) or (error or {}).get("httpStatus")
        if answer is not None and answer.value is not None and (status or answer.state == Settled.SUCCEEDED):
            line["response"] = {
                "status_code": status or 200,
                "request_id": answer.request_id,
                "body": _json(answer.value),
            }
        elif error is not None:
            line["error"] = {"code": error["reason"], "message": error["message"]}
        else:
            line["error"] = {"code": "Skipped", "message": "the job ended before this request was made"}
        return line


def _json(body: bytes) -> msgspec.Raw | str:
    """A response's body as JSON; as text where the server did not answer in JSON."""
    try:
        json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
    return msgspec.Raw(body)
