"""Readers: one input format each, from a stream of bytes to records. They hold one record at a time, never a whole file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import cast

from fanout.planning.sandbox.read.record import Broken, Record, Stream

Reader = Callable[[Stream, str, int], Iterator[Record | Broken]]
"""(stream, file name, largest record in bytes) → records. Raises UnreadableError where it cannot go on."""

_READERS = {
    "JSONL": ("jsonl", "read_jsonl"),
    "Inline": ("inline", "read_inline"),
    "JSON": ("json_array", "read_json"),
    "CSV": ("csv_table", "read_csv"),
    "Text": ("text", "read_text"),
    "OpenAIBatch": ("openai_batch", "read_openai_batch"),
}


def reader_for(format_: str) -> Reader:
    """The reader of an input format (ParseJob.format). Imported on demand: the child must start fast."""
    module, function = _READERS[format_]
    return cast("Reader", getattr(import_module(f"fanout.planning.sandbox.read.{module}"), function))
