"""How a simulated model behaves: the same settings for `fanout simulate` and for an endpoint with `api: Simulated`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fanout.api.base import Model, Percent, Rule


class Latency(Model):
    """Time from request to answer: log-normal through two percentiles, with a share of stragglers on top.

    Log-normal fits what LLM APIs show (a long right tail); equal percentiles make it constant.
    """

    rules = (
        Rule(
            "self.p99Milliseconds >= self.p50Milliseconds",
            "p99Milliseconds must be at least p50Milliseconds",
            lambda s: s.p99_milliseconds >= s.p50_milliseconds,
            field="p99Milliseconds",
        ),
    )

    p50_milliseconds: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    """Half of the calls are faster."""
    p99_milliseconds: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    """99 of 100 calls are faster (stragglers apart)."""
    straggler_percent: Percent = 0
    """Share of calls that take stragglerFactor times as long."""
    straggler_factor: Annotated[int, Field(ge=1, le=1000)] = 20
    """How much longer a straggler takes."""


class Simulated(Model):
    """A simulated model: deterministic answers, with the failures of real ones in the shares asked for."""

    latency: Latency = Field(default_factory=Latency)
    """Time from request to answer."""
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """A strict limit over any 60 seconds; what exceeds it gets 429 with Retry-After. Unset: none."""
    tokens_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Likewise, in input and output tokens. Unset: none."""
    concurrency: Annotated[int, Field(ge=1)] | None = None
    """More calls at one moment than this get 429. Unset: no limit."""
    error_percent: Percent = 0
    """Share of calls that answer 500."""
    overloaded_percent: Percent = 0
    """Share of calls that answer 503 with Retry-After."""
    hang_percent: Percent = 0
    """Share of calls that never answer."""
    truncated_percent: Percent = 0
    """Share of answers cut short (finish_reason length)."""
    garbage_percent: Percent = 0
    """Share of answers that are not what a schema asks for: broken JSON, a missing field, prose around it."""
    empty_percent: Percent = 0
    """Share of answers with no content."""
    embedding_dimensions: Annotated[int, Field(ge=1, le=8192)] = 64
    """Length of a vector, where the request does not say."""
    seed: int = 0
    """Changes every random choice; the same seed and request order give the same run."""
