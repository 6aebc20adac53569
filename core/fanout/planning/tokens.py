"""Token estimates: cheap enough for every prompt of a million, close enough to weigh, pack and pace calls.

The rule is one token per four bytes of UTF-8. Measured against o200k_base (August 2026's models of OpenAI):

@MEASURED@

The dispatcher settles with the usage that servers report, so an error here costs pacing, never correctness. Where a bound must
hold (split.maxTokens), the real tokenizer counts.
"""

from __future__ import annotations

BYTES_PER_TOKEN = 4


def estimate(text: str) -> int:
    """Estimated tokens of `text`; at least 1."""
    # isascii is a flag of the string: English needs no encoding to be counted.
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return max(1, -(-size // BYTES_PER_TOKEN))
