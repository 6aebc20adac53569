"""Live progress: a table that redraws itself at a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fanout.cli.console import stderr
from fanout.engine.job_run import JobRun
from fanout.engine.report import percent, state_of, usage_of

REDRAW_SECONDS = 0.25
PLAIN_LINE_SECONDS = 5.0


async def show(runs: Sequence[JobRun]) -> None:
    """Show the runs' progress until cancelled."""
    if stderr.is_terminal:
        with Live(console=stderr, auto_refresh=False, transient=True) as live:
            while True:
                live.update(Group(*(_panel(run) for run in runs)), refresh=True)
                await asyncio.sleep(REDRAW_SECONDS)
    while True:
        await asyncio.sleep(PLAIN_LINE_SECONDS)
        for run in runs:
            if run.record.ending is None:
                stderr.print(plain_line(run), markup=False)


def figures(run: JobRun) -> list[tuple[str, str]]:
    """What there is to say of a running job, as (name, value)."""
    progress = run.progress
    p50, _, p99 = progress.percentiles()
    usage = usage_of(run)
    shown = [
        ("done", f"{progress.settled} of {progress.planned}{'' if progress.planning_done else '+'}"),
        ("failed", str(progress.counts.failed)),
        ("rate", f"{progress.rate:.1f}/s"),
        ("p50/p99", f"{p50 / 1000:.2f}/{p99 / 1000:.2f} s"),
        ("tokens", f"{short(usage.input_tokens)} in {short(usage.output_tokens)} out"),
    ]
    if usage.cost is not None:
        shown.append(("cost", f"{usage.cost} {usage.currency}"))
    left = progress.planned - progress.settled
    if progress.rate > 0 and left and progress.planning_done:
        shown.append(("ETA", duration(left / progress.rate)))
    limited = run.limited_by()
    if limited is not None:
        shown.append(("limited by", limited))
    return shown


def plain_line(run: JobRun) -> str:
    """One line, for logs."""
    line = f"{run.record.name}: {state_of(run, None)} " + ", ".join(f"{name} {value}" for name, value in figures(run))
    return line + (f" — {run.progress.last_error}" if run.progress.last_error else "")


def _panel(run: JobRun) -> Group:
    head = Table.grid(padding=(0, 1))
    ending = run.record.ending
    head.add_row(
        Text(run.record.name, style="bold"),
        Text(str(state_of(run, ending)), style="cyan"),
        ProgressBar(total=100, completed=percent(run, ending), width=40),
        Text(f"{percent(run, ending)} %"),
    )
    parts: list[Table | Text] = [head, Text("  " + "   ".join(f"{name} {value}" for name, value in figures(run)))]
    if run.progress.last_error:
        parts.append(
            Text(f"  last error: {run.progress.last_error[:200]}", style="yellow", overflow="ellipsis", no_wrap=True)
        )
    return Group(*parts)


def short(count: int) -> str:
    """A count in three digits: 950, 12.3k, 4.56M."""
    if count < 1000:
        return str(count)
    size, unit = (count / 1e3, "k") if count < 1e6 else (count / 1e6, "M")
    return f"{size:.{2 if size < 10 else 1 if size < 100 else 0}f}{unit}"


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
