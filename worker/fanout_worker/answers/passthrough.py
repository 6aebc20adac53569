"""Passed-through requests: the response's body as it came, of an error too, since the batch output shows it."""

from __future__ import annotations

from fanout.broker.messages import Answer
from fanout.broker.outcome import Outcome

MAX_ERROR_BODY = 64 * 1024


def read_passthrough(body: bytes) -> Answer:
    """The body, already known to be JSON, in one line."""
    # A line break can only be white space between JSON's tokens: inside a string it is escaped.
    return Answer(value=body.strip().replace(b"\r", b" ").replace(b"\n", b" "))


def failed_passthrough(outcome: Outcome, body: bytes) -> Answer:
    """The error's body, as it came (it may be no JSON), cut at 64 KiB."""
    return Answer(outcome=outcome, value=body[:MAX_ERROR_BODY])
