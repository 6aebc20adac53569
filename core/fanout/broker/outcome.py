"""What can become of a call or of one task's answer in it: the one list that worker, dispatcher and results share."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """The outcome of a call, or of one answer in it. The value is the `error.reason` that users see."""

    SUCCEEDED = "Succeeded"
    RATE_LIMITED = "RateLimited"
    """429: wait, then go on. Never uses up an attempt."""
    OVERLOADED = "Overloaded"
    """503 or 529, or a body that says so: likewise."""
    SERVER_ERROR = "ServerError"
    """Another 5xx, or an answer that is not the API's."""
    TIMEOUT = "Timeout"
    """No answer within timeoutSeconds (or 408, 504)."""
    CONNECTION_FAILED = "ConnectionFailed"
    """Refused, reset, name not resolved, TLS refused."""
    BAD_REQUEST = "BadRequest"
    """A 4xx that the same request will always get."""
    UNAUTHORIZED = "Unauthorized"
    """401, 403 or a missing credential: the endpoint's fault, not the task's."""
    NOT_FOUND = "NotFound"
    """404: no such model or path at this endpoint."""
    CONTEXT_TOO_LONG = "ContextTooLong"
    """The request exceeds the model's context window."""
    CONTENT_FILTERED = "ContentFiltered"
    """The provider's filter refused the request or cut the answer."""
    TRUNCATED = "Truncated"
    """The answer was cut at max_tokens."""
    BAD_OUTPUT = "BadOutput"
    """The answer is empty, or not what responseSchema asks for."""
    CANCELLED = "Cancelled"
    """Stopped by the dispatcher."""
    NOT_STARTED = "NotStarted"
    """Taken from the queue too late, or by a worker that is draining: handed back."""
    LOST = "Lost"
    """The lease ran out with no word from the worker."""


THROTTLED = frozenset({Outcome.RATE_LIMITED, Outcome.OVERLOADED})
"""The endpoint asks for patience: the call is made again after a while, and no attempt is counted."""

TRANSIENT = frozenset({Outcome.SERVER_ERROR, Outcome.TIMEOUT, Outcome.CONNECTION_FAILED})
"""May go away by itself: made again with backoff, within the branch's retry limit."""

ENDPOINT_FAULTS = frozenset({Outcome.UNAUTHORIZED, Outcome.NOT_FOUND, Outcome.CONTEXT_TOO_LONG})
"""Final at this endpoint, but the next one of the branch may do better."""

HANDED_BACK = frozenset({Outcome.NOT_STARTED, Outcome.CANCELLED, Outcome.LOST})
"""Nobody answered and nobody refused."""
