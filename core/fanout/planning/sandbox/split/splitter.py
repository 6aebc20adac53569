"""A job's split: by item, paragraph, pattern or tokens, then maxTokens for the pieces that are still too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from fanout.planning.sandbox.split.item import split_item
from fanout.planning.sandbox.split.paragraph import split_paragraphs
from fanout.planning.sandbox.split.pieces import Pieces

if TYPE_CHECKING:
    from fanout.planning.sandbox.split.pattern import PatternSplit
    from fanout.planning.sandbox.split.tokens import TokenSplit


class Splitter:
    """Splits texts as split.by, split.pattern and split.maxTokens say. Raises PatternError for a pattern that is none."""

    def __init__(
        self,
        by: Literal["Item", "Paragraph", "Pattern", "Tokens"] = "Item",
        *,
        pattern: str | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self._by = by
        self._max_tokens = max_tokens
        self._pattern: PatternSplit | None = None
        self._tokens: TokenSplit | None = None  # made when the first piece may need it: its vocabulary takes 0.2 s
        if by == "Pattern":
            from fanout.planning.sandbox.split.pattern import PatternSplit  # noqa: PLC0415 - on demand: the child starts fast

            self._pattern = PatternSplit(pattern or "")

    def split(self, text: str) -> Pieces:
        """The chunks of `text`; one, if there is nothing but space in it."""
        pieces = self._split(text) if text and not text.isspace() else split_item(text)
        if self._max_tokens is None:
            return pieces
        return self._limit(text, pieces, self._max_tokens)

    def _split(self, text: str) -> Pieces:
        if self._pattern is not None:
            return self._pattern.split(text)
        return split_paragraphs(text) if self._by == "Paragraph" else split_item(text)

    def _limit(self, text: str, pieces: Pieces, max_tokens: int) -> Pieces:
        limited: Pieces | None = None
        for i, (start, end) in enumerate(pieces.spans()):
            # A token is at least one byte, and a character at most four.
            fits = 4 * (end - start) <= max_tokens or len(text[start:end].encode("utf-8", "replace")) <= max_tokens
            if fits and limited is None:
                continue
            if limited is None:
                limited = Pieces(text)
                for earlier, (before, _) in zip(range(i), pieces.spans(), strict=False):
                    limited.cut(before, pieces.title_start(earlier))
            for cut in [start] if fits else self._token_split(max_tokens).cuts(text, start, end):
                limited.cut(cut, pieces.title_start(i))
        return limited if limited is not None else pieces

    def _token_split(self, max_tokens: int) -> TokenSplit:
        if self._tokens is None:
            from fanout.planning.sandbox.split.tokens import TokenSplit  # noqa: PLC0415 - likewise

            self._tokens = TokenSplit(max_tokens)
        return self._tokens
