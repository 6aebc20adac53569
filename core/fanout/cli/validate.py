"""`fanout validate`: every fault of the manifests, each with its path."""

from __future__ import annotations

import typer

from fanout.api.manifest import load
from fanout.cli.console import OK, USAGE, stderr
from fanout.cli.jobs import Files, Loaded, Overrides, faults_of
from fanout.engine.warnings import warnings


def validate(files: Files, overrides: Overrides = None) -> None:
    """Check manifests without running anything: names every fault with its file, line and path."""
    manifests = load(files, overrides or [])
    loaded = Loaded(list(manifests.jobs), {e.endpoint.name: e.endpoint.spec for e in manifests.endpoints})
    problems = faults_of(manifests, loaded)
    for problem in problems:
        stderr.print(str(problem), markup=False)
    for job in loaded.jobs:
        for fault in warnings(job.job.spec):
            stderr.print(f"warning: {job.source.fault(fault.path, fault.message)}", markup=False, style="yellow")
    if problems:
        stderr.print(f"{len(problems)} fault{'s' if len(problems) > 1 else ''}", style="bold red")
        raise typer.Exit(USAGE)
    found = f"{len(manifests.jobs)} job(s), {len(manifests.endpoints)} endpoint(s)"
    typer.echo(f"valid: {found}")
    raise typer.Exit(OK)
