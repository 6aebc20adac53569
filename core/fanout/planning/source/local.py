"""Files on this machine, for local runs."""

from __future__ import annotations

import asyncio
import glob
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import unquote

from fanout.planning.source.port import READ_BYTES, SourceError


class FileSource:
    """One file, or several by a pattern with * and ?, sorted by name. Raises SourceError."""

    def __init__(self, uri: str, base_dir: Path) -> None:
        written = uri.removeprefix("file://")
        path = _absolute(written, base_dir)
        if not path.exists() and "%" in written:  # a URI's %20 is a space, but a file's name may well have a %
            path = _absolute(unquote(written), base_dir)
        self._paths = _matching(uri, path) if _is_pattern(path) else [path]
        for each in self._paths:
            _check(uri, each)

    @property
    def paths(self) -> list[Path]:
        """The files, in order."""
        return list(self._paths)

    async def files(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        root = os.path.commonpath([path.parent for path in self._paths])
        for path in self._paths:
            yield str(path.relative_to(root)), self._bytes(path)

    async def _bytes(self, path: Path) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(path.open, "rb", buffering=0)
            with file:
                while data := await asyncio.to_thread(file.read, READ_BYTES):
                    yield data
        except OSError as error:
            raise SourceError(f"input.uri: cannot read {path}: {error.strerror or error}") from None


def _absolute(written: str, base_dir: Path) -> Path:
    return Path(os.path.normpath(base_dir.absolute() / written))


def _is_pattern(path: Path) -> bool:
    return ("*" in str(path) or "?" in str(path)) and not path.exists()


def _matching(uri: str, path: Path) -> list[Path]:
    # Only * and ? are wild: a [ in a name is a [.
    pattern = str(path).replace("[", "[[]")
    found = sorted(Path(each) for each in glob.glob(pattern) if not Path(each).is_dir())  # noqa: PTH207
    if not found:
        raise SourceError(f"input.uri: no file matches {uri} (looked for {path})")
    return found


def _check(uri: str, path: Path) -> None:
    if not path.exists():
        raise SourceError(
            f"input.uri: no such file: {path} (from {uri}; a relative path starts at the manifest's folder)"
        )
    if path.is_dir():
        raise SourceError(f"input.uri: {path} is a folder: write {uri.rstrip('/')}/* for the files in it")
    if not os.access(path, os.R_OK):
        raise SourceError(f"input.uri: no permission to read {path}")
