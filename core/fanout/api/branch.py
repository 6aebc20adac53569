"""A branch: one way of processing every chunk."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from fanout.api.base import JsonObject, Label, Model, Rule, Template, one_of
from fanout.api.endpoint import EndpointName

RESERVED_PARAMETERS = ("model", "messages", "stream", "n", "response_format")


def reserved_parameters(instead: str) -> Rule:
    """The rule that `parameters` holds nothing that Fanout sets itself; `instead` names the fields to use."""
    present = " || ".join(f"has(dyn(self).parameters.{name})" for name in RESERVED_PARAMETERS)
    return Rule(
        f"!has(dyn(self).parameters) || !({present})",
        f"model, messages, stream, n and response_format are Fanout's to set: use the endpoint's model, {instead}",
        lambda s: not s.parameters.keys() & set(RESERVED_PARAMETERS),
        field="parameters",
    )


class Message(Model):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    """Who speaks."""
    content: Template
    """What is said: a template."""


class Chat(Model):
    """A chat completion per chunk."""

    rules = (
        Rule(
            "has(self.prompt) != has(self.messages)",
            "give exactly one of prompt and messages",
            lambda s: one_of(s, "prompt", "messages"),
        ),
        Rule(
            "!has(self.system) || has(self.prompt)",
            "with messages, the system message is one of them",
            lambda s: s.system is None or s.prompt is not None,
            field="system",
        ),
        reserved_parameters("prompt, samples and responseSchema"),
    )

    system: Template | None = None
    """The system message: a template that knows params and branch, the same for every chunk."""
    prompt: Template | None = None
    """The user message: a template that knows chunk, item, branch and params."""
    messages: Annotated[list[Message], Field(min_length=1, max_length=64)] | None = None
    """The whole conversation, in place of system and prompt."""
    parameters: JsonObject = Field(default_factory=dict)
    """Passed on in the API's own names (temperature, max_tokens, …). max_tokens is per task."""
    response_schema: JsonObject | None = None
    """JSON Schema of the answer: asked for, checked, repaired where safe, asked again once with the fault, then a
    failure."""


class Embed(Model):
    """An embedding per chunk."""

    input: Template = "{{ chunk.text }}"
    """The text to embed: a template."""
    dimensions: Annotated[int, Field(ge=1, le=65536)] | None = None
    """Length of the vector, where the model lets one choose."""


class PassthroughModel(StrEnum):
    """Whose model a passed-through request goes to."""

    REPLACE = "Replace"
    KEEP = "Keep"


class Passthrough(Model):
    """Each line of an OpenAI batch file is sent as it is."""

    model: PassthroughModel = PassthroughModel.REPLACE
    """Replace: the endpoint's model in place of the line's. Keep: the line's own."""


class Batch(Model):
    """Light tasks share a call."""

    max_items: Annotated[int, Field(ge=1, le=2048)] = 1
    """Tasks per call."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Input tokens of a call's tasks together, estimated. Unset: no limit."""


class Retry(Model):
    """How failed calls are made again. Throttling (429, overload) is waited out and uses up none of these."""

    limit: Annotated[int, Field(ge=0, le=100)] = 5
    """How often a failed call is made again before its tasks fail."""
    max_backoff_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """Longest wait between two tries; the waits are random up to 1, 2, 4, … seconds (full jitter)."""


class Branch(Model):
    """One way of processing every chunk: a prompt (or embedding, or passed-through request) and its endpoints."""

    rules = (
        Rule(
            "[has(self.chat), has(self.embed), has(self.passthrough)].filter(x, x).size() == 1",
            "give exactly one of chat, embed and passthrough",
            lambda s: one_of(s, "chat", "embed", "passthrough"),
        ),
        Rule(
            "self.batch.maxItems == 1 || !has(self.passthrough)",
            "a passed-through request cannot share a call: leave batch out",
            lambda s: s.batch.max_items == 1 or s.passthrough is None,
            field="batch.maxItems",
        ),
        Rule(
            "self.batch.maxItems == 1 || !has(self.chat) || has(self.chat.prompt)",
            "a batch needs chat.prompt (messages cannot share a call)",
            lambda s: s.batch.max_items == 1 or s.chat is None or s.chat.prompt is not None,
            field="batch.maxItems",
        ),
        Rule(
            "self.batch.maxItems <= 256 || !has(self.chat)",
            "at most 256 chat tasks share a call",
            lambda s: s.batch.max_items <= 256 or s.chat is None,
            field="batch.maxItems",
        ),
    )

    name: Label
    """What the branch is called in results."""
    endpoints: Annotated[list[EndpointName], Field(min_length=1, max_length=16)]
    """ModelEndpoints, in the order of failover."""
    samples: Annotated[int, Field(ge=1, le=100)] = 1
    """Answers per chunk."""
    chat: Chat | None = None
    """A chat completion per chunk."""
    embed: Embed | None = None
    """An embedding per chunk."""
    passthrough: Passthrough | None = None
    """Each line of an OpenAI batch file, sent as it is."""
    batch: Batch = Field(default_factory=Batch)
    """Light tasks share a call."""
    timeout_seconds: Annotated[int, Field(ge=1, le=1200)] = 120
    """How long a call may take."""
    retry: Retry = Field(default_factory=Retry)
    """How failed calls are made again."""

    @property
    def kind(self) -> Literal["chat", "embed", "passthrough"]:
        """Which of the three the branch is."""
        if self.chat is not None:
            return "chat"
        return "embed" if self.embed is not None else "passthrough"

    @property
    def response_schema(self) -> dict[str, Any] | None:
        return self.chat.response_schema if self.chat is not None else None
