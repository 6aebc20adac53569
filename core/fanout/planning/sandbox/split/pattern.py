"""Pattern: a new chunk begins where an expression matches.

RE2, because a pattern comes with the job and must not be able to stall it: its time is linear in the text.
"""

from __future__ import annotations

from array import array

import re2

from fanout.planning.sandbox.split.pieces import Pieces

MAX_MEMORY = 8 << 20  # bytes of a compiled expression and its automaton; what needs more is refused


class PatternError(ValueError):
    """The expression is none. The message says why."""


class PatternSplit:
    """Splits texts at one expression. Raises PatternError."""

    def __init__(self, pattern: str) -> None:
        options = re2.Options()
        options.max_mem = MAX_MEMORY
        options.log_errors = False
        try:
            # Multi-line: ^ and $ match at lines.
            self._regex = re2.compile(  # type: ignore[no-untyped-call]
                f"(?m){pattern}".encode(), options
            )
        except re2.error as error:
            fault = error.args[0] if error.args else str(error)
            if isinstance(fault, bytes):
                fault = fault.decode("utf-8", "replace")
            raise PatternError(f"split.pattern is no RE2 expression: {fault.replace('(?m)', '')}") from None

    def split(self, text: str) -> Pieces:
        """Chunks from match to match; titles are the lines of the matches.

        Text before the first match is a chunk of its own, titled by its first line, unless it is only space.
        """
        pieces = Pieces(text)
        title = before = 0
        for start in self._starts(text):
            title = text.rfind("\n", before, start) + 1 or title
            before = start
            if pieces:
                pieces.cut(start, title)
            elif not text[:start].strip():
                pieces.cut(0, title)
            else:
                pieces.cut(0, len(text) - len(text.lstrip()))
                pieces.cut(start, title)
        if not pieces:
            pieces.cut(0, len(text) - len(text.lstrip()))
        return pieces

    def _starts(self, text: str) -> array[int]:
        """Where matches begin, in characters, ascending and each once; never at the very end."""
        raw = text.encode("utf-8", "replace")
        starts = array("q")
        characters = bytes_ = 0
        last = -1
        for match in self._regex.finditer(raw):
            start = match.start()
            # Empty matches come twice, and also within a character: RE2 goes on byte by byte.
            if start == last or start >= len(raw) or 0x80 <= raw[start] < 0xC0:
                continue
            last = start
            characters += len(raw[bytes_:start].decode("utf-8", "replace"))
            bytes_ = start
            starts.append(characters)
        return starts
