"""Live progress: a block per job that redraws itself at a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fanout.cli.amounts import duration, short
from fanout.cli.console import stderr
from fanout.engine.job_run import JobRun
from fanout.engine.report import percent, state_of, usage_of

REDRAW_SECONDS = 0.25
PLAIN_LINE_SECONDS = 5.0
WIDEST = 100
# The terminal itself writes ^C where the cursor is, behind the last line: without room for it there, it would begin a new
# line, and the block be redrawn one line too low.
ROOM_FOR_CTRL_C = 3
LINES_OF_A_BLOCK = 4


async def show(runs: Sequence[JobRun]) -> None:
    """Show the runs' progress until cancelled."""
    if stderr.is_terminal:
        with Live(console=stderr, auto_refresh=False, transient=True) as live:
            while True:
                live.update(_blocks(runs), refresh=True)
                await asyncio.sleep(REDRAW_SECONDS)
    while True:
        await asyncio.sleep(PLAIN_LINE_SECONDS)
        for run in runs:
            if run.record.ending is None:
                stderr.print(plain_line(run), markup=False)


def plain_line(run: JobRun) -> str:
    """One line, for logs."""
    said = ", ".join([*_pace(run), *_spent(run)])
    error = f" (last error: {run.progress.last_error})" if run.progress.last_error else ""
    return f"{run.record.name}: {state_of(run, None)}: {said}{error}"


def _pace(run: JobRun) -> list[str]:
    progress = run.progress
    p50, _, p99 = progress.percentiles()
    failed, left = progress.counts.failed, progress.planned - progress.settled
    # While planning goes on there will be more than that, nobody knows how much.
    pace = [f"{progress.settled} of {progress.planned}{'' if progress.planning_done else '+'} done"]
    if failed:
        pace.append(f"{failed} failed")
    pace += [f"rate {progress.rate:.1f}/s", f"p50/p99 {p50 / 1000:.2f}/{p99 / 1000:.2f} s"]
    if progress.rate > 0 and left and progress.planning_done:
        pace.append(f"ETA {duration(left / progress.rate)}")
    return pace


def _spent(run: JobRun) -> list[str]:
    usage, limited = usage_of(run), run.limited_by()
    spent = [f"tokens {short(usage.input_tokens)} in {short(usage.output_tokens)} out"]
    if usage.cost is not None:
        spent.append(f"cost {usage.cost} {usage.currency}")
    return spent if limited is None else [*spent, f"limited by {limited}"]


def _blocks(runs: Sequence[JobRun]) -> RenderableType:
    """A block for each job; where they do not fit, a line."""
    whole = len(runs) * LINES_OF_A_BLOCK < stderr.height
    return Group(*(line for run in runs for line in (_block(run) if whole else [_head(run)])))


def _block(run: JobRun) -> list[RenderableType]:
    if run.record.ending is not None:
        return [_head(run)]
    lines = [_line(*_pace(run)), _line(*_spent(run))]
    if run.progress.last_error:
        lines.append(_line(f"last error: {run.progress.last_error}", style="yellow"))
    return [_head(run), *lines]


def _head(run: JobRun) -> Table:
    ending, done = run.record.ending, percent(run, run.record.ending)
    head = Table.grid(padding=(0, 1), expand=True)
    head.width = _width()
    head.add_column(no_wrap=True, overflow="ellipsis", max_width=_width() // 2)
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(no_wrap=True, justify="right")
    bar = ProgressBar(total=100, completed=done)
    head.add_row(Text(run.record.name, "bold"), Text(str(state_of(run, ending)), "cyan"), bar, Text(f"{done:>3} %"))
    return head


def _line(*said: str, style: str = "") -> Text:
    line = Text("  " + "   ".join(" ".join(each.split()) for each in said), style, overflow="ellipsis", no_wrap=True)
    line.truncate(_width(), overflow="ellipsis")
    return line


def _width() -> int:
    return max(20, min(stderr.width - ROOM_FOR_CTRL_C, WIDEST))
