"""ModelEndpoint: a model behind a URL, with its limits, prices and workers."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from fanout.api.base import Label, Model, Money, Rule
from fanout.api.meta import ObjectMeta, SecretKeyRef
from fanout.api.simulated import Simulated

HeaderName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9-]+$")]
# No line breaks or other control characters: they would begin a header of their own.
HeaderValue = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$")]
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]{1,128}")  # a CRD has no schema for the keys of a map, so a rule checks them


class Api(StrEnum):
    """The protocol that an endpoint speaks."""

    OPENAI = "OpenAI"
    SIMULATED = "Simulated"


class Auth(Model):
    """Where the credential comes from and how it is sent."""

    secret_ref: SecretKeyRef
    """The Secret's key that holds the credential. In `fanout run` the environment variable NAME_KEY in capitals stands
    in for it (openai and api-key: OPENAI_API_KEY), or a Secret in the same files."""
    header: HeaderName = "Authorization"
    """The request header that carries the credential."""
    scheme: Annotated[str, StringConstraints(max_length=32)] = "Bearer"
    """The word before the credential in that header; empty for none (Azure's api-key header)."""


class Limits(Model):
    """What the endpoint allows, over all workers and all jobs."""

    concurrency: Annotated[int, Field(ge=1, le=100_000)] = 16
    """Calls in flight at one moment."""
    context_tokens: Annotated[int, Field(ge=256)] | None = None
    """The model's context window, in tokens: what a synthesis packs into one call. Unset: 8192 is assumed."""


class Pricing(Model):
    """Prices, for the cost of a job. Money is a string."""

    currency: Annotated[str, StringConstraints(max_length=3, pattern=r"^[A-Z]{3}$")] = "USD"
    """ISO 4217 code."""
    input_per_million_tokens: Money = "0"
    """Price of a million input tokens."""
    cached_input_per_million_tokens: Money | None = None
    """Price of a million input tokens that the provider's prompt cache served. Unset: the input price."""
    output_per_million_tokens: Money = "0"
    """Price of a million output tokens."""


class Workers(Model):
    """The workers that call this endpoint."""

    prefetch: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Calls in flight per worker. Unset: the concurrency, at most 64, which one Python process carries well."""


class ModelEndpointSpec(Model):
    """What the endpoint is."""

    rules = (
        Rule(
            "self.api != 'OpenAI' || (has(self.url) && has(self.model))",
            "an endpoint with api: OpenAI needs url (such as https://api.example/v1) and model",
            lambda s: s.api != Api.OPENAI or (s.url is not None and s.model is not None),
        ),
        Rule(
            "!has(self.simulated) || self.api == 'Simulated'",
            "simulated goes with api: Simulated",
            lambda s: s.simulated is None or s.api == Api.SIMULATED,
            field="simulated",
        ),
        Rule(
            "!has(self.headers) || self.headers.all(name, name.matches('^[A-Za-z0-9-]{1,128}$'))",
            "a header's name is made of letters, digits and hyphens",
            lambda s: all(_HEADER_NAME.fullmatch(name) for name in s.headers),
            field="headers",
        ),
    )

    api: Api = Api.OPENAI
    """The protocol: OpenAI (any compatible server: vLLM, llama.cpp, LiteLLM, …) or Simulated (a model inside the
    worker)."""
    url: Annotated[str, StringConstraints(max_length=2048, pattern=r"^https?://[^\s/?#]+[^\s?#]*$")] | None = None
    """The base URL, up to and with /v1."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    """The model's name, as the server knows it."""
    auth: Auth | None = None
    """The credential; unset: none is sent."""
    headers: Annotated[dict[str, HeaderValue], Field(max_length=32)] = Field(default_factory=dict)
    """Further headers of each request. Not for credentials: use auth."""
    limits: Limits = Field(default_factory=Limits)
    """What the endpoint allows."""
    pricing: Pricing | None = None
    """Prices; unset: cost is not reported."""
    workers: Workers = Field(default_factory=Workers)
    """The workers that call this endpoint."""
    simulated: Simulated | None = None
    """How a simulated model behaves (api: Simulated)."""

    @property
    def prefetch(self) -> int:
        """Calls in flight per worker, with the default worked out."""
        return min(self.workers.prefetch or 64, self.limits.concurrency)


class ModelEndpoint(Model):
    """A model behind a URL, with its limits, prices and workers."""

    api_version: Literal["fanout.dev/v1alpha1"] = "fanout.dev/v1alpha1"
    kind: Literal["ModelEndpoint"] = "ModelEndpoint"
    metadata: ObjectMeta
    spec: ModelEndpointSpec

    @property
    def name(self) -> str:
        return self.metadata.name


EndpointName = Label
