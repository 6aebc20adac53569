"""Where a resource stands in its files, so that whoever finds a fault in it can say where to look."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

_LAST_SEGMENT = re.compile(r"(?:\.?[^.\[\]]+|\[\d+\])$")


@dataclass(frozen=True)
class ManifestFault:
    """One thing wrong: where, and what to change. `line` counts from 1; None where there is none (a --set, a file)."""

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(filter(None, (place, self.path, self.message)))


@dataclass(frozen=True)
class Source:
    """Where a resource stands: for messages, and for what is relative to the manifest."""

    file: str
    base: Path
    lines: Mapping[str, int] = field(repr=False)
    overridden: Mapping[str, str] = field(default_factory=dict)

    def line(self, path: str) -> int | None:
        """The line of the field at `path`, or of the nearest that holds it."""
        while path and path not in self.lines:
            path = _LAST_SEGMENT.sub("", path)
        return self.lines.get(path)

    def fault(self, path: str, message: str) -> ManifestFault:
        """A fault of the resource at `path`, with the line, or the --set, that it came from."""
        for written, text in self.overridden.items():
            if path == written or path.startswith((f"{written}.", f"{written}[")):
                return ManifestFault(f"--set {text}", None, path, message)
        return ManifestFault(self.file, self.line(path), path, message)

    def after(self, path: str, override: str) -> Source:
        """The same, once a --set has written `path`."""
        return replace(self, overridden={**self.overridden, path: override})
