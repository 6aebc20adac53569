"""What an error response means: by its status, and by its body where providers tell more there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from fanout.broker.outcome import Outcome
from fanout_worker.clients.base import Response
from fanout_worker.error_body import ErrorBody, read_error
from fanout_worker.retry_after import retry_after_seconds

_REQUEST_ID_HEADERS = ("x-request-id", "request-id", "apim-request-id", "x-ms-request-id", "cf-ray")

_FILTER_CODES = {
    "content_filter",
    "content_policy_violation",
    "contentpolicyviolationerror",
    "responsibleaipolicyviolation",
    "moderation_blocked",
    "invalid_prompt",
}
_FILTER_TEXT = re.compile(
    r"ContentPolicyViolationError|content management policy|violat\w+ .{0,40}(usage|content) polic", re.IGNORECASE
)
_LENGTH_CODES = {
    "context_length_exceeded",
    "exceed_context_size_error",
    "contextwindowexceedederror",
    "string_above_max_length",
}
_LENGTH_TEXT = re.compile(
    r"ContextWindowExceeded|context[ _](length|window|size)"
    r"|(prompt|input|request|messages?|sequence|query) (is |are |was )?too (long|large)"
    r"|too many (input |prompt )?tokens|exceeds? the maximum (number of )?(input |allowed )?tokens"
    r"|reduce the length of",
    re.IGNORECASE,
)
_QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_credits"}
_OVERLOAD_CODES = {"overloaded_error", "overloaded", "engine_overloaded", "model_overloaded"}
_TOO_LARGE_TEXT = re.compile(r"request too large", re.IGNORECASE)
_OVERLOAD_TEXT = re.compile(r"\boverloaded\b", re.IGNORECASE)

_REMEDY = {
    Outcome.UNAUTHORIZED: "check the credential that auth.secretRef names, and what it may use",
    Outcome.NOT_FOUND: "check the endpoint's url and model",
    Outcome.CONTEXT_TOO_LONG: "split into smaller chunks (split.maxTokens), or use a model with a larger context",
}


class Classification(NamedTuple):
    """What became of a call that got a response."""

    outcome: Outcome
    message: str
    """For people: the server's own words, and what to do where that is known. Empty for a success."""
    request_id: str | None
    retry_after_seconds: float | None


def classify(response: Response, now: float) -> Classification:
    """Classify by status and body; a 2xx is a success until its body says otherwise. `now` is Unix time."""
    identity = request_id(response.headers)
    if 200 <= response.status < 300:
        return Classification(Outcome.SUCCEEDED, "", identity, None)
    error = read_error(response)
    outcome = outcome_of(response.status, error)
    return Classification(
        outcome, explain(response.status, error, outcome), identity, retry_after_seconds(response.headers, now)
    )


def classify_hidden(response: Response, error: ErrorBody, now: float) -> Classification:
    """For a 200 whose body is an error: by the status that the body names, else a server error."""
    status = error.status if error.status is not None else 500
    outcome = outcome_of(status, error)
    return Classification(
        outcome,
        explain(status, error, outcome),
        request_id(response.headers),
        retry_after_seconds(response.headers, now),
    )


def outcome_of(status: int, error: ErrorBody) -> Outcome:
    """The outcome of an error with `status`."""
    told = _told_by_body(status, error)
    if told is not None:
        return told
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 400:
        return Outcome.NOT_FOUND  # a redirect, which is not followed: the path is not here
    return Outcome.BAD_REQUEST if status < 500 else Outcome.SERVER_ERROR


_BY_STATUS = {
    401: Outcome.UNAUTHORIZED,
    402: Outcome.UNAUTHORIZED,
    403: Outcome.UNAUTHORIZED,
    404: Outcome.NOT_FOUND,
    405: Outcome.NOT_FOUND,
    408: Outcome.TIMEOUT,
    413: Outcome.CONTEXT_TOO_LONG,
    429: Outcome.RATE_LIMITED,
    503: Outcome.OVERLOADED,
    504: Outcome.TIMEOUT,
    524: Outcome.TIMEOUT,
    529: Outcome.OVERLOADED,
}


def _told_by_body(status: int, error: ErrorBody) -> Outcome | None:
    """What the body's codes and words say beyond the status."""
    refused = 400 <= status < 500
    if refused and error.codes & _QUOTA_CODES:
        return Outcome.UNAUTHORIZED  # the account's fault, not the task's: no waiting helps
    if refused and status != 429 and (error.codes & _FILTER_CODES or _FILTER_TEXT.search(error.message)):
        return Outcome.CONTENT_FILTERED
    if error.codes & _LENGTH_CODES or (status in (400, 413, 422) and _LENGTH_TEXT.search(error.message)):
        return Outcome.CONTEXT_TOO_LONG
    if status == 429 and _TOO_LARGE_TEXT.match(error.message):
        return Outcome.CONTEXT_TOO_LONG  # beyond a whole minute's tokens: waiting would never end
    if status >= 500 and (error.codes & _OVERLOAD_CODES or _OVERLOAD_TEXT.search(error.message)):
        return Outcome.OVERLOADED
    return None


def explain(status: int, error: ErrorBody, outcome: Outcome) -> str:
    """A sentence: the server's words, and the remedy where there is one."""
    if status < 400:
        to = f" to {error.location}" if error.location else ""
        return f"HTTP {status}: the server redirects{to}, and redirects are not followed: correct the endpoint's url"
    said = f"HTTP {status}: {error.message}" if error.message else f"HTTP {status}"
    if outcome == Outcome.UNAUTHORIZED and error.codes & _QUOTA_CODES:
        return f"{said} (the account has no credit left)"
    return f"{said} ({_REMEDY[outcome]})" if outcome in _REMEDY else said


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the request."""
    for name in _REQUEST_ID_HEADERS:
        if headers.get(name):
            return headers[name][:200]
    return None
