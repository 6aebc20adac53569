"""Amounts for people."""

from __future__ import annotations


def short(count: int) -> str:
    """A count in three digits: 950, 12.3k, 4.56M."""
    if count < 1000:
        return str(count)
    size, unit = (count / 1e3, "k") if count < 1e6 else (count / 1e6, "M")
    return f"{size:.{2 if size < 10 else 1 if size < 100 else 0}f}{unit}"


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
