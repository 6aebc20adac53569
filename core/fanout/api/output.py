"""What the output looks like."""

from __future__ import annotations

from enum import StrEnum

from fanout.api.base import Model


class OutputFormat(StrEnum):
    """The form of the output file."""

    AUTO = "Auto"
    JSONL = "JSONL"
    JSON = "JSON"
    PARQUET = "Parquet"
    TEXT = "Text"
    MARKDOWN = "Markdown"
    OPENAI_BATCH = "OpenAIBatch"


class Output(Model):
    """What the output looks like."""

    format: OutputFormat = OutputFormat.AUTO
    """Auto goes by the reduce step: collect JSONL, tally JSON, concat and synthesize Text, embeddings Parquet."""
