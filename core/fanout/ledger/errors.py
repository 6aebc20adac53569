"""The typed error of a chunk or task, as results show it."""

from __future__ import annotations

import json

from fanout.ledger.texts import storable

MAX_MESSAGE = 1000


def error_json(
    reason: str,
    message: str,
    *,
    http_status: int | None = None,
    endpoint: str | None = None,
    request_id: str | None = None,
    attempts: int = 0,
) -> str:
    """JSON of `error` in a results line (design.md §6)."""
    message = storable(message)
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 1] + "…"
    return json.dumps(
        {
            "reason": reason,
            "message": message,
            "httpStatus": http_status,
            "endpoint": endpoint,
            "requestId": None if request_id is None else storable(request_id),
            "attempts": attempts,
        },
        ensure_ascii=False,
    )
