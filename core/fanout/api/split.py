"""How an item becomes chunks."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from fanout.api.base import Model, Rule


class SplitBy(StrEnum):
    """Where a new chunk begins."""

    ITEM = "Item"
    PARAGRAPH = "Paragraph"
    PATTERN = "Pattern"
    TOKENS = "Tokens"


class Split(Model):
    """How an item becomes chunks, the units of fan-out."""

    rules = (
        Rule(
            "(self.by == 'Pattern') == has(self.pattern)",
            "pattern goes with by: Pattern, and by: Pattern needs one",
            lambda s: (s.by == SplitBy.PATTERN) == (s.pattern is not None),
            field="pattern",
        ),
        Rule(
            "self.by != 'Tokens' || has(self.maxTokens)",
            "by: Tokens needs maxTokens",
            lambda s: s.by != SplitBy.TOKENS or s.max_tokens is not None,
            field="maxTokens",
        ),
    )

    by: SplitBy = SplitBy.ITEM
    """Item: no split. Paragraph: at blank lines. Pattern: where pattern matches. Tokens: as much as maxTokens
    allows."""
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """A piece larger than this is split further, at the best boundary (paragraph, sentence, word). In tokens of
    o200k_base."""
    pattern: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    """Where a new chunk begins: an RE2 expression, multi-line (^ and $ match at lines). Its line becomes
    chunk.title."""
