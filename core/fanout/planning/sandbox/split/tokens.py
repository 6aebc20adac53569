"""Tokens: as much as maxTokens allows, cut at the best boundary (paragraph, sentence, word, then character).

Counted in o200k_base. The library's time grows with the square of a text without boundaries, and cannot be interrupted: so it
gets one window at a time, and what it makes of a window's end is cut again with the next one.
"""

from __future__ import annotations

from collections.abc import Iterator

from semantic_text_splitter import TextSplitter

MODEL = "gpt-4o"  # whose encoding is o200k_base
CHARACTERS_PER_TOKEN = 16  # more than any prose has, so a window holds several chunks
SMALLEST_WINDOW = 1024


class TokenSplit:
    """Cuts texts into chunks of at most `max_tokens`. Making one loads the vocabulary (0.2 s)."""

    def __init__(self, max_tokens: int) -> None:
        self._splitter = TextSplitter.from_tiktoken_model(MODEL, max_tokens, trim=False)
        self._window = max(SMALLEST_WINDOW, CHARACTERS_PER_TOKEN * max_tokens)

    def cuts(self, text: str, start: int, end: int) -> Iterator[int]:
        """Where the chunks of text[start:end] begin; the first is `start`."""
        while start < end:
            window = text[start : min(end, start + self._window)]
            chunks = self._splitter.chunks(window)
            if len(chunks) > 1 and start + len(window) < end:
                chunks.pop()
            for chunk in chunks:
                yield start
                start += len(chunk)
