"""The command `fanout`: a subcommand per file of this folder."""

# No `from __future__ import annotations`: typer reads the option below, and its own name is local there.
import importlib
import sys
from typing import Annotated

try:
    import typer
except ImportError:
    sys.exit("fanout's command line needs its engine: pip install 'fanout-dev[run]'")

from fanout import __version__

COMMANDS = ("run", "plan", "validate", "simulate", "crds")


def main() -> None:
    """Entry point."""
    app = typer.Typer(
        help="Fan-out/fan-in for AI workloads: one manifest, many model calls, one result.",
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
        ] = False,
    ) -> None:
        pass

    # The command that is asked for is the only one to be loaded: `fanout crds` has no use for an HTTP client.
    asked = sys.argv[1:2]
    alone = set(asked) & {*COMMANDS, "--version"}
    for name in [name for name in COMMANDS if name in asked or not alone]:
        app.command(name)(getattr(importlib.import_module(f"fanout.cli.{name}"), name))
    app()


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        sys.exit()
