"""How long a server asks to wait."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, by retry-after-ms, Retry-After (seconds or a date) or an exhausted x-ratelimit-*.

    `now` is Unix time. None where the server does not say, or not in a way that can be understood. Never negative.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    if asked is not None:
        seconds = _number(asked)
        return seconds if seconds is not None else _until(asked, now)
    return _exhausted(headers)


def _exhausted(headers: Mapping[str, str]) -> float | None:
    """The longest reset time of the limits that have nothing left."""
    waits = [
        _duration(headers.get(f"x-ratelimit-reset-{kind}", ""))
        for kind in ("requests", "tokens")
        if _number(headers.get(f"x-ratelimit-remaining-{kind}")) == 0
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return max(value, 0.0) if math.isfinite(value) else None


def _until(text: str, now: float) -> float | None:
    try:
        return max(parsedate_to_datetime(text).timestamp() - now, 0.0)
    except (ValueError, OverflowError, OSError):
        return None


def _duration(text: str) -> float | None:
    """Seconds of 6m0s, 1.5s, 20ms, or a plain number."""
    match = _DURATION.fullmatch(text.strip()) if len(text) < 64 else None
    if match is None or not any(match.groups()):
        return _number(text)
    days, hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
