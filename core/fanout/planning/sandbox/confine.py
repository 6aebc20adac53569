"""What a child process gives up before it sees any input: memory, files, core dumps, the terminal's signals.

And the alarm for single items. It counts CPU time, so neither a slow source nor a busy machine fails an item. Python code is
stopped by it; the libraries that are not Python are linear in their input, or get it in small pieces.
"""

from __future__ import annotations

import resource
import signal
from contextlib import suppress
from types import TracebackType
from typing import Any

OPEN_FILES = 32
AGAIN_SECONDS = 0.1


class TooSlowError(BaseException):
    """An item used up its time. No Exception, so that no library's `except Exception` can swallow it."""


def confine(memory_bytes: int) -> None:
    """Limit this process for good."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the engine's to handle
    signal.signal(signal.SIGPROF, _ring)
    for limit, wanted in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        # Not every system has each limit (macOS: no RLIMIT_AS), and a lower one may stand already.
        with suppress(ValueError, OSError):
            hard = resource.getrlimit(limit)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(limit, (value, value))


_armed = False


def _ring(_signal: int, _frame: Any) -> None:
    if _armed:
        raise TooSlowError


class Clock:
    """A budget of CPU time, spent by what runs inside `with`. Raises TooSlowError there once it is used up."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def __enter__(self) -> None:
        global _armed  # noqa: PLW0603 - a process has one alarm
        if self._left <= 0:
            raise TooSlowError
        _armed = True
        # Again and again: where it cannot be raised (a finalizer, a callback of C code), it is lost.
        signal.setitimer(signal.ITIMER_PROF, self._left, AGAIN_SECONDS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _armed  # noqa: PLW0603
        _armed = False
        left, _ = signal.setitimer(signal.ITIMER_PROF, 0)
        self._left = 0 if kind is TooSlowError else left
