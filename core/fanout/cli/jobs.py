"""Manifests as the commands need them: loaded, checked as a whole, every fault told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from fanout.api.endpoint import ModelEndpointSpec
from fanout.api.manifest import LoadedJob, Manifests, load
from fanout.api.secret import Secret
from fanout.api.source import ManifestFault
from fanout.cli.console import USAGE, stderr
from fanout.engine import preflight
from fanout_worker.clients.base import CredentialMissingError
from fanout_worker.clients.credential import Credential, environment_credential

Files = Annotated[
    list[Path], typer.Argument(help="Manifests: jobs, endpoints, Secrets; - is standard input.", metavar="FILE")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Change a field: map.parallelism=5; ModelEndpoint/NAME:url=http://… for an endpoint's.",
        metavar="PATH=VALUE",
    ),
]


@dataclass
class Loaded:
    """Jobs that can run, and what they run with."""

    jobs: list[LoadedJob]
    endpoints: dict[str, ModelEndpointSpec]
    credentials: dict[str, Credential] = field(default_factory=dict)


def load_checked(files: list[Path], overrides: list[str] | None, *, with_credentials: bool) -> Loaded:
    """The jobs in `files`. Where something is wrong every fault is told, and the command ends with code 2."""
    manifests = load(files, overrides or [])
    loaded = Loaded(list(manifests.jobs), {e.endpoint.name: e.endpoint.spec for e in manifests.endpoints})
    problems = faults_of(manifests, loaded)
    if not problems and not loaded.jobs:
        problems = [ManifestFault(str(files[0]), None, "", "there is no FanOutJob in these files")]
    if not problems and with_credentials:
        problems = _find_credentials(manifests, loaded)
    if problems:
        for problem in problems:
            stderr.print(str(problem), markup=False)
        stderr.print(f"{len(problems)} fault{'s' if len(problems) > 1 else ''}; nothing was run", style="bold red")
        raise typer.Exit(USAGE)
    return loaded


def faults_of(manifests: Manifests, loaded: Loaded) -> list[ManifestFault]:
    """Every fault of the files, and of the jobs with their endpoints."""
    problems = list(manifests.faults)
    for job in loaded.jobs:
        found = preflight.faults(job.job.spec, loaded.endpoints)
        problems += [job.source.fault(fault.path, fault.message) for fault in found]
    return problems


def _find_credentials(manifests: Manifests, loaded: Loaded) -> list[ManifestFault]:
    problems = []
    secrets = {secret.name: secret for secret in manifests.secrets}
    for entry in manifests.endpoints:
        auth = entry.endpoint.spec.auth
        if auth is None:
            continue
        credential = _credential(auth.secret_ref.name, auth.secret_ref.key, secrets) or environment_credential(
            auth.secret_ref
        )
        try:
            credential()
        except CredentialMissingError as error:
            problems.append(entry.source.fault("spec.auth.secretRef", str(error)))
        loaded.credentials[entry.endpoint.name] = credential
    return problems


def _credential(name: str, key: str, secrets: Mapping[str, Secret]) -> Credential | None:
    secret = secrets.get(name)
    if secret is None or key not in secret.data:
        return None
    value = secret.data[key]
    return lambda: value
