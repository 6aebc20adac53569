"""From a job's `reduce` to its step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fanout.api.endpoint import ModelEndpointSpec
from fanout.api.job import FanOutJobSpec
from fanout.api.output import OutputFormat
from fanout.api.split import SplitBy
from fanout.fanin.combine.port import CombineStrategy
from fanout.fanin.output.openai_batch import OpenAIBatchOutput
from fanout.fanin.reading import ResultReader
from fanout.fanin.reduce.collect import Collect
from fanout.fanin.reduce.concat import Concat, Render
from fanout.fanin.reduce.port import ReduceStep
from fanout.fanin.reduce.synthesize import Place, SynthesizeStep
from fanout.fanin.reduce.tally import Tally
from fanout.ledger.jobs import JobRecord
from fanout.ledger.store import Ledger

DEFAULT_CONTEXT_TOKENS = 8192  # what even small models have
SUFFIXES = {
    OutputFormat.JSONL: "jsonl",
    OutputFormat.JSON: "json",
    OutputFormat.PARQUET: "parquet",
    OutputFormat.TEXT: "txt",
    OutputFormat.MARKDOWN: "md",
    OutputFormat.OPENAI_BATCH: "jsonl",
}


def output_name(spec: FanOutJobSpec) -> str | None:
    """The output's file name; None for a pure fan-out, whose results are its output."""
    if not spec.reduce.steps and spec.output_format != OutputFormat.OPENAI_BATCH:
        return None
    return f"output.{SUFFIXES[spec.output_format]}"


def build_reduce(  # noqa: PLR0911 - one return per kind of step
    spec: FanOutJobSpec,
    record: JobRecord,
    ledger: Ledger,
    reader: ResultReader,
    combine: CombineStrategy,
    endpoints: Mapping[str, ModelEndpointSpec],
    *,
    render: Render,
    on_calls: Callable[[int], None],
) -> ReduceStep | None:
    """The step that makes the output; None for a pure fan-out."""
    if spec.output_format == OutputFormat.OPENAI_BATCH:
        return OpenAIBatchOutput(reader, record.name)
    if not spec.reduce.steps:
        return None
    step = spec.reduce.steps[0]
    if step.tally is not None:
        return Tally(reader, combine, step.tally.field)
    if step.concat is not None:
        return Concat(
            reader,
            combine,
            separator=step.concat.separator,
            template=step.concat.template,
            params=spec.params,
            render=render,
        )
    if step.embeddings is not None:
        from fanout.fanin.reduce.embeddings import Embeddings  # noqa: PLC0415 - pyarrow takes 0.2 s to load

        return Embeddings(reader, split=spec.split.by != SplitBy.ITEM or spec.split.max_tokens is not None)
    if step.synthesize is not None:
        context = min(endpoints[e].limits.context_tokens or DEFAULT_CONTEXT_TOKENS for e in step.synthesize.endpoints)
        place = Place(record.job, 0, len(spec.map.branches), context, spec.params)
        return SynthesizeStep(ledger, reader, combine, step.synthesize, place, render=render, on_calls=on_calls)
    return Collect(reader, combine, spec.output_format)
