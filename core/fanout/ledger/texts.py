"""Texts from outside, in a form that every database takes."""

from __future__ import annotations

REPLACEMENT = "\ufffd"


def storable(text: str) -> str:
    """`text` without NUL, which PostgreSQL's texts cannot hold, and without half characters, which UTF-8 cannot."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\x00", REPLACEMENT)
