"""`fanout plan`: chunks, calls, tokens, cost and time of jobs, without calling anything."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from fanout.api.manifest import LoadedJob
from fanout.cli.amounts import duration
from fanout.cli.console import fail
from fanout.cli.jobs import Files, Loaded, Overrides, load_checked
from fanout.engine.estimate import Estimate, estimate_job
from fanout.engine.lanes import endpoints_of
from fanout.engine.parse_job import parse_job
from fanout.planning.parser import parse
from fanout.planning.planner import InputFailedError
from fanout.planning.source import SourceError, open_source

LONGEST_REQUEST = 4000  # characters of a request that are shown

Seconds = Annotated[float, typer.Option(help="Assumed duration of a call, for the time.", min=0.001)]


def plan(files: Files, overrides: Overrides = None, seconds_per_call: Seconds = 2.0) -> None:
    """Say what the jobs in FILE would do: chunks, calls, tokens, cost, time at the limits, the first requests. Calls nothing."""
    loaded = load_checked(files, overrides, with_credentials=False)
    for entry in loaded.jobs:
        try:
            found = asyncio.run(_estimate(entry, loaded))
        except (SourceError, InputFailedError) as error:
            fail(str(error))
        _tell(entry, loaded, found, seconds_per_call)


async def _estimate(entry: LoadedJob, loaded: Loaded) -> Estimate:
    spec = entry.job.spec
    source = open_source(spec.input.uri or spec.input.items or [], entry.source.base)
    # The templates of system messages stand for themselves: what they render to is about as long.
    systems = [branch.chat.system or "" if branch.chat is not None else "" for branch in spec.map.branches]
    with tempfile.TemporaryDirectory(prefix="fanout-plan-") as folder:
        return await estimate_job(entry.job, loaded.endpoints, systems, parse(parse_job(spec), source), Path(folder))


def _tell(entry: LoadedJob, loaded: Loaded, found: Estimate, seconds_per_call: float) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"[bold]{entry.job.name}[/bold]: {found.chunks} chunks"
        + (f", {found.failed} of them can't be planned" if found.failed else "")
    )
    for reason, (count, message) in found.problems.items():
        console.print(f"  {count} × {reason}{'' if count == 1 else ', first'}: {message}", markup=False, style="red")
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("", "calls", "tasks", "tokens in", "out at most", "cost at most"):
        table.add_column(name, justify="left" if not name else "right")
    for lane in found.lanes:
        cost = "" if lane.cost is None else f"{lane.cost:.4f} {found.currency or ''}"
        output = f"{'~' if lane.assumed else ''}{lane.output_tokens}"
        table.add_row(lane.name, str(lane.calls), str(lane.tasks), f"~{lane.input_tokens}", output, cost)
    console.print(table)
    if found.deduplicated:
        console.print(f"  {found.deduplicated} tasks share another's identical request")
    slots = sum(loaded.endpoints[name].limits.concurrency for name in endpoints_of(entry.job.spec)[:1])
    slots = min(slots, entry.job.spec.map.parallelism or slots)
    calls = sum(lane.calls for lane in found.lanes)
    time = duration(sum(lane.seconds(slots, seconds_per_call) for lane in found.lanes))
    console.print(
        f"  time: about {time}, for {calls} calls of {seconds_per_call:g} s (--seconds-per-call), {slots} at once"
    )
    for lane in found.lanes:
        if lane.request is not None:
            shown = msgspec.json.format(lane.request, indent=2).decode()
            more = "" if len(shown) <= LONGEST_REQUEST else f"\n… {len(shown) - LONGEST_REQUEST} characters more"
            console.print(f"\n[bold]first request of {lane.name}[/bold]")
            console.print(shown[:LONGEST_REQUEST] + more, markup=False)
