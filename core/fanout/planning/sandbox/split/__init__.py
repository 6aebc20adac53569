"""Splitting: where an item's text is cut into chunks.

A splitter only says where to cut, so nothing of a text can be lost or repeated: the chunks are what lies between the cuts.
"""

from __future__ import annotations

from fanout.planning.sandbox.split.pieces import Pieces
from fanout.planning.sandbox.split.splitter import Splitter

__all__ = ["Pieces", "Splitter"]
