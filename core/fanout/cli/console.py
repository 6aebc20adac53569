"""How the command line speaks: results on stdout, everything else on stderr; errors say what to do and end with a code."""

from __future__ import annotations

from typing import NoReturn

import typer
from rich.console import Console

stderr = Console(stderr=True, highlight=False, soft_wrap=True)

OK, FAILED, USAGE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130


def fail(message: str, code: int = USAGE) -> NoReturn:
    """Say what is wrong, and end."""
    stderr.print("error: ", style="bold red", end="")
    stderr.print(message, markup=False)
    raise typer.Exit(code)
