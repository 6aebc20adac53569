"""The client for an endpoint."""

from __future__ import annotations

from fanout.api.endpoint import Api, ModelEndpointSpec
from fanout.api.simulated import Simulated
from fanout_worker.clients.base import ModelClient
from fanout_worker.clients.credential import Credential
from fanout_worker.clients.openai import OpenAIClient


def build_client(spec: ModelEndpointSpec, credential: Credential | None = None) -> ModelClient:
    """A client for `spec`, to be closed by the caller; call it on the event loop that will use it.

    `credential` is where `auth` is set: see `environment_credential`. Raises ValueError for a spec that cannot work.
    """
    if spec.api == Api.SIMULATED:
        from fanout_worker.clients.simulated import SimulatedClient  # noqa: PLC0415 - real endpoints need not load it

        return SimulatedClient(spec.simulated or Simulated())
    if spec.url is None:
        raise ValueError("an endpoint with api: OpenAI needs url, such as https://api.example/v1")
    if spec.auth is not None and credential is None:
        raise ValueError("the endpoint has auth: give build_client its credential")
    return OpenAIClient(
        spec.url,
        headers=spec.headers,
        credential=credential if spec.auth is not None else None,
        auth_header=spec.auth.header if spec.auth is not None else "Authorization",
        auth_scheme=spec.auth.scheme if spec.auth is not None else "",
    )
