"""From a manifest's input to a source and its format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from fanout.planning.source.inline import InlineSource
from fanout.planning.source.local import FileSource
from fanout.planning.source.port import Source, SourceError

Format = Literal["JSONL", "JSON", "CSV", "Text", "OpenAIBatch", "Inline"]

_BY_ENDING: dict[str, Format] = {".jsonl": "JSONL", ".ndjson": "JSONL", ".json": "JSON", ".csv": "CSV"}


def open_source(uri_or_items: str | Sequence[Any], base_dir: Path) -> Source:
    """The source of an input: a URI, or inline items. Relative files are below `base_dir`, the manifest's folder.

    Raises SourceError for files that are not there; a URL shows only when it is read.
    """
    if not isinstance(uri_or_items, str):
        return InlineSource(uri_or_items)
    if uri_or_items.startswith("file://"):
        return FileSource(uri_or_items, base_dir)
    if uri_or_items.startswith("https://"):
        from fanout.planning.source.https import HttpsSource  # noqa: PLC0415 - aiohttp, which a local run needs not load

        return HttpsSource(uri_or_items)
    raise SourceError(f"input.uri: {uri_or_items}: only file:// and https:// can be read")


def detect_format(uri: str | None, declared: str = "Auto") -> Format:
    """The format to read a URI in (None: inline items). Auto goes by the ending, else Text."""
    if uri is None:
        return "Inline"
    if declared != "Auto":
        return cast("Format", declared)
    path = uri.removeprefix("file://") if uri.startswith("file://") else urlsplit(uri).path
    return _BY_ENDING.get(PurePosixPath(path).suffix.lower(), "Text")
