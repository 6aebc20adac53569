"""Item: no split."""

from __future__ import annotations

from fanout.planning.sandbox.split.pieces import Pieces


def split_item(text: str) -> Pieces:
    """The whole text as one chunk."""
    pieces = Pieces(text)
    pieces.cut(0)
    return pieces
