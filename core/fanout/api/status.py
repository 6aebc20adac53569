"""A job's status: what the resource shows, and what report.json holds."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from fanout.api.base import Model, keyed_by


def _cut(limit: int) -> BeforeValidator:
    """Shortens a text to `limit` bytes of UTF-8: a status of bounded size, whatever a server or an input answers with."""

    def cut(value: object) -> object:
        if not isinstance(value, str) or len(value.encode("utf-8", "replace")) <= limit:
            return value
        return value.encode("utf-8", "replace")[: limit - 3].decode("utf-8", "ignore") + "…"

    return BeforeValidator(cut)


Word = Annotated[str, _cut(63), Field(max_length=63)]
Name = Annotated[str, _cut(253), Field(max_length=253)]
Sentence = Annotated[str, _cut(1024), Field(max_length=1024)]
Address = Annotated[str, _cut(4096), Field(max_length=4096)]


class State(StrEnum):
    """A word for people; programs read the conditions."""

    PENDING = "Pending"
    PLANNING = "Planning"
    RUNNING = "Running"
    REDUCING = "Reducing"
    COMPLETE = "Complete"
    PARTIAL = "Partial"
    FAILED = "Failed"


class Reason(StrEnum):
    """Why a condition is as it is."""

    PLANNING = "Planning"
    PLANNED = "Planned"
    SUCCEEDED = "Succeeded"
    PARTIAL = "Partial"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    SHORTFALL = "Shortfall"
    ABORTED = "Aborted"
    NO_SUCCESS = "NoSuccess"
    REDUCE_FAILED = "ReduceFailed"
    INPUT_FAILED = "InputFailed"
    INVALID = "Invalid"
    NOT_FINISHED = "NotFinished"


class Condition(Model):
    """One observation of the job (Kubernetes' meta/v1 Condition)."""

    type: Word
    """Planned, Complete, Failed or Finished."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Word
    """Why, as one word for programs."""
    message: Sentence = ""
    """Why, as a sentence for people."""
    last_transition_time: Word
    """When the status last changed (RFC 3339)."""
    observed_generation: int = 1
    """The generation of the spec that this is about."""


class ChunkCounts(Model):
    """Chunks by outcome; planned = succeeded + failed + skipped once the job is finished."""

    planned: int = 0
    """All."""
    succeeded: int = 0
    """With an accepted value."""
    failed: int = 0
    """With a typed error."""
    skipped: int = 0
    """Given up unanswered: deadline, partialAfter or abort."""
    in_flight: int = 0
    """In a call right now."""


class Latencies(Model):
    """Duration of the accepted calls."""

    p50_milliseconds: int = 0
    """Half were faster."""
    p95_milliseconds: int = 0
    """95 of 100 were faster."""
    p99_milliseconds: int = 0
    """99 of 100 were faster."""


class CallCounts(Model):
    """Calls by what became of them."""

    made: int = 0
    """Requests sent to a model."""
    retried: int = 0
    """Made again after a failure."""
    rate_limited: int = 0
    """Refused with 429 or as overloaded; waited out."""
    failed_over: int = 0
    """Sent to another endpoint than the one before."""
    deduplicated: int = 0
    """Tasks that another task's identical request answered."""
    dropped: int = 0
    """Answers that came after another had been accepted."""


class Usage(Model):
    """Tokens and money, of failed calls too."""

    input_tokens: int = 0
    """As the servers counted them."""
    cached_input_tokens: int = 0
    """Of these, served from the provider's prompt cache."""
    output_tokens: int = 0
    """As the servers counted them."""
    estimated_tokens: int = 0
    """Estimated input tokens of calls that ended without telling."""
    cost: Word | None = None
    """By the endpoints' prices; absent where one has none."""
    currency: Word | None = None
    """ISO 4217 code."""


class FailureExample(Model):
    """One failed chunk, to start looking from."""

    item: Name
    """The item's id."""
    chunk: int
    """The chunk's index within the item."""
    endpoint: Name | None = None
    """Where the last call went."""
    http_status: int | None = None
    """What it answered."""
    request_id: Name | None = None
    """The provider's id of the request."""
    message: Sentence = ""
    """What went wrong and what to do."""


class Failures(Model):
    """Failed chunks of one reason."""

    reason: Word
    """The error's type."""
    count: int
    """How many."""
    example: FailureExample
    """The first of them."""


class ResultRef(Model):
    """Where the output is."""

    uri: Address
    """Path or URI of the output."""
    bytes: int = 0
    """Its size."""
    sha256: Name = ""
    """Its digest."""


class FanOutJobStatus(Model):
    """What is known of a job. Its size is bounded, whatever the job's."""

    observed_generation: int = 1
    """The generation of the spec that this is about."""
    conditions: Annotated[list[Condition], Field(max_length=8, json_schema_extra=keyed_by("type"))] = Field(
        default_factory=list
    )
    """Planned, Complete, Failed, Finished."""
    state: State = State.PENDING
    """A word for people; programs read the conditions."""
    limited_by: Word | None = None
    """What holds the job back now: Concurrency, Parallelism, Workers, Throttled, Backoff or Planning."""
    start_time: Word | None = None
    """When the job began (RFC 3339)."""
    completion_time: Word | None = None
    """When it ended (RFC 3339)."""
    chunks: ChunkCounts = Field(default_factory=ChunkCounts)
    """Chunks by outcome."""
    progress_percent: int = 0
    """Settled of planned chunks; below 100 until the job is finished."""
    latency: Latencies = Field(default_factory=Latencies)
    """Duration of the accepted calls."""
    calls: CallCounts = Field(default_factory=CallCounts)
    """Calls by what became of them."""
    usage: Usage = Field(default_factory=Usage)
    """Tokens and money."""
    failures: Annotated[list[Failures], Field(max_length=20)] = Field(default_factory=list)
    """Failed chunks by reason, the most frequent first."""
    result: ResultRef | None = None
    """Where the output is."""
