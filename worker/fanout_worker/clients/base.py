"""What the executor needs of a client, and how a call can fail before there is a response.

CallError
 ├─ CredentialMissingError   Unauthorized      nothing was sent
 ├─ RequestRefusedError      BadRequest        nothing was sent
 ├─ ConnectionFailedError    ConnectionFailed  sent or not, as `sent` says
 ├─ CallTimeoutError         Timeout           sent
 └─ ResponseUnusableError    ServerError       sent
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple, Protocol

from fanout.broker.outcome import Outcome


class Response(NamedTuple):
    """A response as the server gave it."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class ModelClient(Protocol):
    """Sends requests to one endpoint. Made on the event loop that uses it; safe for many calls at once."""

    async def send(self, path: str, body: bytes, timeout_seconds: float) -> Response:
        """POST `body` (JSON) to `path` below the base URL: any status is a response.

        Raises CallError where there is none within `timeout_seconds`.
        """

    async def close(self) -> None:
        """Close the connections; calls in flight fail."""


class CallError(Exception):
    """There is no response. The message is for people: where, what, and what to do."""

    outcome: ClassVar[Outcome]
    sent: bool = True
    """Whether the request may have got as far as the model."""


class CredentialMissingError(CallError):
    """The credential is not there, or a header cannot carry it."""

    outcome = Outcome.UNAUTHORIZED
    sent = False


class RequestRefusedError(CallError):
    """The client does not send such a request."""

    outcome = Outcome.BAD_REQUEST
    sent = False


class ConnectionFailedError(CallError):
    """Refused, reset, name not resolved, TLS refused."""

    outcome = Outcome.CONNECTION_FAILED

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class CallTimeoutError(CallError):
    """No response in time."""

    outcome = Outcome.TIMEOUT


class ResponseUnusableError(CallError):
    """What came is not HTTP, or too large, or packed in an unknown way."""

    outcome = Outcome.SERVER_ERROR
