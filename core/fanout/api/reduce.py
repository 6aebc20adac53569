"""How all chunks' answers become the output."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fanout.api.base import FieldPath, JsonObject, Model, Rule, Template, one_of
from fanout.api.branch import Retry, reserved_parameters
from fanout.api.endpoint import EndpointName


class Collect(Model):
    """One line per chunk, in input order."""


class Concat(Model):
    """The answers as one text, in input order."""

    separator: Annotated[str, Field(max_length=1024)] = "\n\n"
    """Between two answers."""
    template: Template | None = None
    """How an answer is written: a template that knows value, chunk (index, count, title), item and params. Unset: as
    it is."""


class Tally(Model):
    """Counts and shares per value of a field."""

    field: FieldPath = "value"
    """The path into a results line: value, value.label, status, …"""


class Synthesize(Model):
    """One text from all answers, by model calls in a tree: each call packs as many parts as fit."""

    rules = (reserved_parameters("system and prompt"),)

    endpoints: Annotated[list[EndpointName], Field(min_length=1, max_length=16)]
    """ModelEndpoints, in the order of failover."""
    system: Template | None = None
    """The system message: a template that knows params."""
    prompt: Template
    """The user message: a template that knows parts (texts; objects as JSON), level (1 is next to the chunks) and
    params."""
    parameters: JsonObject = Field(default_factory=dict)
    """Passed on in the API's own names."""
    max_parts_per_call: Annotated[int, Field(ge=2, le=1000)] = 20
    """Parts in one call, at most; fewer where the endpoint's contextTokens asks for it."""
    max_levels: Annotated[int, Field(ge=1, le=32)] = 8
    """Depth of the tree, at most: what does not shrink must not go on for ever."""
    timeout_seconds: Annotated[int, Field(ge=1, le=1200)] = 120
    """How long a call may take."""
    retry: Retry = Field(default_factory=Retry)
    """How failed calls are made again."""


class Embeddings(Model):
    """A matrix of vectors with their ids."""


class Step(Model):
    """One reduce step: exactly one kind."""

    rules = (
        Rule(
            "[has(self.collect), has(self.concat), has(self.tally), has(self.synthesize), has(self.embeddings)]"
            ".filter(x, x).size() == 1",
            "give exactly one of collect, concat, tally, synthesize and embeddings",
            lambda s: one_of(s, "collect", "concat", "tally", "synthesize", "embeddings"),
        ),
    )

    collect: Collect | None = None
    """One line per chunk, in input order."""
    concat: Concat | None = None
    """The answers as one text, in input order."""
    tally: Tally | None = None
    """Counts and shares per value of a field."""
    synthesize: Synthesize | None = None
    """One text from all answers, by model calls in a tree."""
    embeddings: Embeddings | None = None
    """A matrix of vectors with their ids."""

    @property
    def kind(self) -> str:
        """The name of the one that is set; empty in a step that breaks its rule and has none."""
        return next((name for name in type(self).model_fields if getattr(self, name) is not None), "")


class Reduce(Model):
    """How all chunks' answers become the output."""

    # A list, because steps will chain; one, because they do not yet.
    steps: Annotated[list[Step], Field(max_length=1)] = Field(default_factory=list)
    """At most one step. None: the results are the output."""
