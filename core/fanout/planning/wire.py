"""How the engine and its child processes talk: length-prefixed messages over pipes.

To the parser: one message (ParseJob), then the input as frames of a type byte, four bytes of length and the data.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

FILE = b"F"
"""A new file begins; the data is its name."""
DATA = b"D"
"""Some bytes of the file."""
END = b"E"
"""The input has ended."""
BROKEN_OFF = b"X"
"""The input broke off: what is unfinished is no record."""

LENGTH = 4
HEADER = 1 + LENGTH
MAX_MESSAGE = 1 << 30
"""No message is larger: the child, with its memory limit, could not have made it."""


class BrokenOffError(Exception):
    """There is no more input, though it is not at its end."""


def message(data: bytes) -> bytes:
    """A message with its length."""
    return len(data).to_bytes(LENGTH) + data


def frame(kind: bytes, data: bytes = b"") -> bytes:
    """An input frame."""
    return kind + len(data).to_bytes(LENGTH) + data


def write_all(fd: int, data: bytes) -> None:
    """Blocking write of all of `data`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class InputFrames:
    """The child's side of the input: file after file, each a stream of bytes."""

    def __init__(self, fd: int, on_wait: Callable[[], None] = lambda: None) -> None:
        """`on_wait` is called before waiting for input that is not there yet."""
        self._fd = fd
        self._on_wait = on_wait
        self._left = 0  # bytes of the data frame at hand
        self._next: tuple[bytes, bytes] | None = None  # the frame that ended the file

    def message(self) -> bytes | None:
        """A length-prefixed message; None at the end."""
        try:
            return self._exactly(int.from_bytes(self._exactly(LENGTH)))
        except BrokenOffError:
            return None

    def next_file(self) -> str | None:
        """Go on to the next file, passing over what was not read of this one. Its name; None at the end of the input."""
        while self._next is None:
            if not self.read(1 << 20):
                break
        kind, data = self._next or (BROKEN_OFF, b"")
        self._next = None
        if kind == FILE:
            return data.decode()
        return None

    def read(self, size: int, /) -> bytes:
        """Some bytes of the file; none at its end. Raises BrokenOffError."""
        if size == 0:  # ijson asks for nothing, to see what it would get
            return b""
        while self._left == 0:
            if self._next is None:
                self._next = self._header()
            if self._next is not None:
                if self._next[0] == BROKEN_OFF:
                    raise BrokenOffError
                return b""
        data = self._some(min(size, self._left))
        self._left -= len(data)
        return data

    def _header(self) -> tuple[bytes, bytes] | None:
        """The next frame, or None if it is data."""
        header = self._exactly(HEADER)
        kind, length = header[:1], int.from_bytes(header[1:])
        if kind == DATA:
            self._left = length
            return None
        return kind, self._exactly(length)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            parts.append(self._some(size))
            size -= len(parts[-1])
        return b"".join(parts)

    def _some(self, size: int) -> bytes:
        if not select.select([self._fd], [], [], 0)[0]:
            self._on_wait()
        data = os.read(self._fd, size)
        if not data:
            raise BrokenOffError
        return data
