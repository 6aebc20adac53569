"""Where an input's bytes come from. Engine side: the parser gets bytes, and neither files nor network."""

from __future__ import annotations

from fanout.planning.source.opening import detect_format, open_source
from fanout.planning.source.port import Source, SourceError

__all__ = ["Source", "SourceError", "detect_format", "open_source"]
