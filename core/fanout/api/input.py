"""Where a job's items come from."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import msgspec
from pydantic import Field, StringConstraints

from fanout.api.base import FieldPath, Model, Rule, one_of

MAX_INLINE_BYTES = 65536  # what stands in the resource is copied by every list and watch


class InputFormat(StrEnum):
    """How the input's bytes become items."""

    AUTO = "Auto"
    JSONL = "JSONL"
    JSON = "JSON"
    CSV = "CSV"
    TEXT = "Text"
    OPENAI_BATCH = "OpenAIBatch"


class Input(Model):
    """Where the items come from: exactly one source."""

    rules = (
        Rule(
            "has(dyn(self).items) != has(self.uri)",
            "give exactly one source: items or uri",
            lambda s: one_of(s, "items", "uri"),
        ),
        Rule(
            "!has(dyn(self).items) || self.format == 'Auto'",
            "format goes with uri; inline items are texts or objects",
            lambda s: s.items is None or s.format == InputFormat.AUTO,
            field="format",
        ),
        Rule(
            "",
            "each item is a text or an object of fields",
            lambda s: s.items is None or all(isinstance(i, str | dict) for i in s.items),
            field="items",
        ),
    )

    items: Annotated[list[Any], Field(min_length=1, max_length=4096)] | None = None
    """Inline items: texts, or objects of fields. At most 64 KiB together; more belongs into a file."""
    uri: (
        Annotated[str, StringConstraints(min_length=8, max_length=2048, pattern=r"^(https://[^\s/]+|file://)\S*$")]
        | None
    ) = None
    """https://host/path; or file://path, in local runs only: relative to the manifest, and * and ? match several
    files."""
    format: InputFormat = InputFormat.AUTO
    """How the bytes become items. Auto goes by the name's ending: .jsonl .ndjson .json .csv, else Text (one item a
    file)."""
    text_field: FieldPath = "text"
    """The field that is split and shown to prompts as chunk.text. An item without it is rendered from its other
    fields."""
    id_field: FieldPath | None = None
    """The field that names an item in the results. Unset: the item's position, from 0. Ids are unique; a duplicate
    fails."""

    def inline_bytes(self) -> int:
        """Size of the inline items as JSON, in bytes."""
        return len(msgspec.json.encode(self.items)) if self.items is not None else 0
