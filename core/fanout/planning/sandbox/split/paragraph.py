"""Paragraph: at blank lines."""

from __future__ import annotations

from fanout.planning.sandbox.split.pieces import Pieces


def split_paragraphs(text: str) -> Pieces:
    """Each paragraph with the blank lines after it; blank lines at the start belong to the first."""
    pieces = Pieces(text)
    pieces.cut(0)
    at = 0
    written = after_blank = False  # whether this paragraph has begun, and ended
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        line = text[at:end]
        if line.isspace():
            after_blank = written
        else:
            if after_blank:
                pieces.cut(at)
            written, after_blank = True, False
        at = end
    return pieces
