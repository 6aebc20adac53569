"""A text and where it is cut. Offsets in arrays: a document may have millions of chunks."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

MAX_TITLE = 500  # characters: a heading, not a page
UNTITLED = -1


class Pieces:
    """The chunks of one text, in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = array("q")
        self._titles = array("q")  # where the line begins that is the chunk's title

    def cut(self, start: int, title: int = UNTITLED) -> None:
        """A chunk begins at `start`; its title is the line that begins at `title`. Starts ascend, the first is 0."""
        self._starts.append(start)
        self._titles.append(title)

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """(title, text) of each chunk."""
        for i, (start, end) in enumerate(self.spans()):
            yield self.title(i), self._text[start:end]

    def spans(self) -> Iterator[tuple[int, int]]:
        """(start, end) of each chunk."""
        for i, start in enumerate(self._starts):
            yield start, self._starts[i + 1] if i + 1 < len(self._starts) else len(self._text)

    def title_start(self, index: int) -> int:
        """Where the title's line begins; UNTITLED where there is none."""
        return self._titles[index]

    def title(self, index: int) -> str:
        """The title of a chunk: a line without the spaces around it, or nothing."""
        start = self._titles[index]
        if start == UNTITLED:
            return ""
        line = self._text[start : start + 2 * MAX_TITLE].split("\n", 1)[0]  # a line may be the whole document
        return line.strip()[:MAX_TITLE].replace("\x00", "\ufffd")  # PostgreSQL's texts hold no NUL
