"""`fanout crds`: the CustomResourceDefinitions, for kubectl apply -f -."""

from __future__ import annotations

import typer

from fanout.api.crd import to_yaml


def crds() -> None:
    """Print the CustomResourceDefinitions of FanOutJob and ModelEndpoint: `fanout crds | kubectl apply -f -`."""
    typer.echo(to_yaml(), nl=False)
