"""FanOutJob: what to fan out, how to process each piece, and how the answers become one."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from fanout.api.base import Model, Rule, keyed_by
from fanout.api.branch import Branch
from fanout.api.combine import Combine
from fanout.api.completion import Completion
from fanout.api.input import MAX_INLINE_BYTES, Input, InputFormat
from fanout.api.meta import ObjectMeta
from fanout.api.output import Output, OutputFormat
from fanout.api.reduce import Reduce
from fanout.api.split import Split, SplitBy

# What reduces to what: the formats that each kind of step can be written in, the first being Auto's.
STEP_FORMATS: dict[str, tuple[OutputFormat, ...]] = {
    "": (OutputFormat.JSONL, OutputFormat.OPENAI_BATCH),
    "collect": (OutputFormat.JSONL, OutputFormat.JSON),
    "concat": (OutputFormat.TEXT, OutputFormat.MARKDOWN),
    "tally": (OutputFormat.JSON,),
    "synthesize": (OutputFormat.TEXT, OutputFormat.MARKDOWN),
    "embeddings": (OutputFormat.PARQUET,),
}


def _format_fits(spec: FanOutJobSpec) -> bool:
    return spec.output.format == OutputFormat.AUTO or spec.output.format in STEP_FORMATS[spec.step_kind]


def _all_passthrough(spec: FanOutJobSpec) -> bool:
    return all(b.passthrough is not None for b in spec.map.branches)


class Map(Model):
    """What is done with each chunk."""

    rules = (
        Rule(
            "self.branches.all(b, self.branches.exists_one(c, c.name == b.name))",
            "branch names must differ",
            lambda s: len({b.name for b in s.branches}) == len(s.branches),
            field="branches",
        ),
    )

    parallelism: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """This job's own cap of calls in flight. Unset: the endpoints' concurrency."""
    order: Literal["LongestFirst", "Input"] = "LongestFirst"
    """Which calls go first. LongestFirst keeps a long call from being the last one that everybody waits for."""
    branches: Annotated[list[Branch], Field(min_length=1, max_length=64, json_schema_extra=keyed_by("name"))]
    """The ways in which every chunk is processed."""


class FanOutJobSpec(Model):
    """What to fan out, how to process each piece, and how the answers become one."""

    rules = (
        Rule(
            "self.map.branches.all(b, has(b.passthrough)) || self.map.branches.all(b, !has(b.passthrough))",
            "passthrough branches do not mix with chat and embed: their items are whole requests",
            lambda s: _all_passthrough(s) or not any(b.passthrough for b in s.map.branches),
            field="map.branches",
        ),
        Rule(
            "!self.map.branches.exists(b, has(b.passthrough)) || self.input.format == 'OpenAIBatch'",
            "passthrough needs input.format: OpenAIBatch",
            lambda s: not _all_passthrough(s) or s.input.format == InputFormat.OPENAI_BATCH,
            field="input.format",
        ),
        Rule(
            "!self.map.branches.exists(b, has(b.passthrough)) || self.split.by == 'Item'",
            "a passed-through request cannot be split",
            lambda s: not _all_passthrough(s) or s.split.by == SplitBy.ITEM,
            field="split.by",
        ),
        Rule(
            "self.output.format != 'OpenAIBatch' || (self.map.branches.size() == 1 && "
            "has(self.map.branches[0].passthrough) && self.map.branches[0].samples == 1)",
            "output.format: OpenAIBatch needs one passthrough branch with one sample",
            lambda s: (
                s.output.format != OutputFormat.OPENAI_BATCH
                or (len(s.map.branches) == 1 and _all_passthrough(s) and s.map.branches[0].samples == 1)
            ),
            field="output.format",
        ),
        Rule(
            "self.reduce.steps.size() == 0 || !has(self.reduce.steps[0].embeddings) || "
            "(self.map.branches.size() == 1 && has(self.map.branches[0].embed) && self.map.branches[0].samples == 1)",
            "embeddings needs one embed branch with one sample",
            lambda s: (
                s.step_kind != "embeddings"
                or (len(s.map.branches) == 1 and s.map.branches[0].embed is not None and s.map.branches[0].samples == 1)
            ),
            field="reduce.steps",
        ),
        Rule(
            "self.output.format == 'Auto' || ("
            "self.reduce.steps.size() == 0 ? self.output.format in ['JSONL', 'OpenAIBatch'] : "
            "has(self.reduce.steps[0].collect) ? self.output.format in ['JSONL', 'JSON'] : "
            "has(self.reduce.steps[0].tally) ? self.output.format == 'JSON' : "
            "has(self.reduce.steps[0].embeddings) ? self.output.format == 'Parquet' : "
            "self.output.format in ['Text', 'Markdown'])",
            "this output format does not fit the reduce step: none JSONL or OpenAIBatch, collect JSONL or JSON, "
            "tally JSON, concat and synthesize Text or Markdown, embeddings Parquet; or leave it out",
            _format_fits,
            field="output.format",
        ),
        Rule(
            "!has(self.combine.minSucceeded) || self.combine.minSucceeded <= self.map.branches.map(b, b.samples).sum()",
            "minSucceeded is more than a chunk has answers (the samples of all branches): no chunk could succeed",
            lambda s: s.combine.min_succeeded is None or s.combine.min_succeeded <= s.answers_per_chunk,
            field="combine.minSucceeded",
        ),
        *(
            Rule(
                f"has(self.{f}) == has(oldSelf.{f}) && (!has(self.{f}) || self.{f} == oldSelf.{f})",
                f"{f} is immutable: what is planned stays planned; make a new job",
            )
            for f in ("input", "split", "combine", "reduce", "output")
        ),
        Rule(
            # In lists, because CEL's cost estimate knows the size of a list, not of what is reached by dyn.
            "has(dyn(self).params) == has(dyn(oldSelf).params) && "
            "(!has(dyn(self).params) || [dyn(self).params] == [dyn(oldSelf).params])",
            "params is immutable: what is planned stays planned; make a new job",
        ),
        Rule(
            "self.map.branches == oldSelf.map.branches && self.map.order == oldSelf.map.order",
            "map.branches and map.order are immutable: what is planned stays planned; make a new job",
        ),
    )

    input: Input
    """Where the items come from."""
    split: Split = Field(default_factory=Split)
    """How an item becomes chunks."""
    map: Map
    """What is done with each chunk."""
    combine: Combine = Field(default_factory=Combine)
    """How one chunk's several answers become one."""
    reduce: Reduce = Field(default_factory=Reduce)
    """How all chunks' answers become the output."""
    completion: Completion = Field(default_factory=Completion)
    """When the job is done, and what counts as success."""
    output: Output = Field(default_factory=Output)
    """What the output looks like."""
    params: Annotated[
        dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=63)], Any],
        Field(max_length=64),
    ] = Field(default_factory=dict)
    """Values for the templates: {{ params.name }}."""

    @property
    def step_kind(self) -> str:
        """The kind of the reduce step; empty where there is none."""
        return self.reduce.steps[0].kind if self.reduce.steps else ""

    @property
    def output_format(self) -> OutputFormat:
        """The form of the output, with Auto worked out."""
        return STEP_FORMATS[self.step_kind][0] if self.output.format == OutputFormat.AUTO else self.output.format

    @property
    def answers_per_chunk(self) -> int:
        """How many tasks a chunk has."""
        return sum(b.samples for b in self.map.branches)


class FanOutJob(Model):
    """Fans an input out into many model calls and the answers back in to one result."""

    rules = (
        Rule(
            "",  # CEL cannot measure bytes; the API server limits the whole request
            f"inline items are {MAX_INLINE_BYTES} bytes at most: put them into a file",
            lambda j: j.spec.input.inline_bytes() <= MAX_INLINE_BYTES,
            field="spec.input.items",
        ),
    )

    api_version: Literal["fanout.dev/v1alpha1"] = "fanout.dev/v1alpha1"
    kind: Literal["FanOutJob"] = "FanOutJob"
    metadata: ObjectMeta
    spec: FanOutJobSpec

    @property
    def name(self) -> str:
        return self.metadata.name
