"""Errors in the form the OpenAI API gives them."""

from __future__ import annotations

import math
from typing import Any


class ApiError(Exception):
    """A request that is answered with an error. `retry_after_seconds` sets Retry-After."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",  # noqa: A002 - the API's own name
        param: str | None = None,
        code: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.retry_after_seconds = retry_after_seconds

    def body(self) -> dict[str, Any]:
        """The response's JSON."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Retry-After in whole seconds, as HTTP has it, and the milliseconds that OpenAI adds."""
        if self.retry_after_seconds is None:
            return {}
        return {
            "retry-after": str(math.ceil(self.retry_after_seconds)),
            "retry-after-ms": str(math.ceil(self.retry_after_seconds * 1000)),
        }
