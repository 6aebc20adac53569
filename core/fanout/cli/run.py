"""`fanout run`: jobs here, in one process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.exc import DBAPIError

from fanout.api.status import Reason, State
from fanout.cli import progress
from fanout.cli.console import FAILED, INTERRUPTED, OK, PARTIAL, USAGE, fail, stderr
from fanout.cli.jobs import Files, Loaded, Overrides, load_checked
from fanout.engine.engine import JobChangedError
from fanout.engine.local import LocalJob, LocalResult, LocalRun
from fanout.engine.report import state_of
from fanout.ledger.store import LedgerInUseError, LedgerVersionError
from fanout.planning.source import SourceError

EXIT_CODES = {State.COMPLETE: OK, State.PARTIAL: PARTIAL, State.FAILED: FAILED}
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Folder for results, output, report and the ledger.", show_default="fanout-NAME"
    ),
]


RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Of a finished job, run what failed again, and only that.")
]


def run(files: Files, output: Output = None, overrides: Overrides = None, retry_failed: RetryFailed = False) -> None:
    """Run the jobs in FILE here. Run again with the same folder to resume; Ctrl-C stops cleanly."""
    loaded = load_checked(files, overrides, with_credentials=True)
    out = output or Path(f"fanout-{loaded.jobs[0].job.name}" if len(loaded.jobs) == 1 else "fanout-run")
    jobs = [
        LocalJob(entry.job, entry.source.base, out if len(loaded.jobs) == 1 else out / entry.job.name)
        for entry in loaded.jobs
    ]
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            results = runner.run(_run(jobs, loaded, out, retry_failed=retry_failed))
    except (LedgerInUseError, LedgerVersionError, JobChangedError, SourceError) as error:
        fail(str(error))
    except DBAPIError as error:
        fail(f"the ledger in {out} cannot be read or written: {error.orig}; is the disk full?", FAILED)
    except OSError as error:
        fail(f"{error.strerror}: {error.filename or out}")
    for result in results:
        _tell(result)
    if any(result.run.interrupted for result in results):
        stderr.print(f"interrupted; the results so far are in {out}; run the same command again to go on")
        raise typer.Exit(INTERRUPTED)
    # Several jobs: the worst of their codes, wrong input before failure before shortfall.
    codes = {_exit_code(result) for result in results}
    raise typer.Exit(next(code for code in (USAGE, FAILED, PARTIAL, OK) if code in codes))


async def _run(jobs: list[LocalJob], loaded: Loaded, out: Path, *, retry_failed: bool) -> list[LocalResult]:
    local = LocalRun(jobs, loaded.endpoints, loaded.credentials, out, retry_failed=retry_failed)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _interrupt, local)
    shown: list[asyncio.Task[None]] = []
    try:
        return await local.execute(started=lambda: shown.append(asyncio.create_task(progress.show(local.runs))))
    except BaseExceptionGroup as group:
        raise _only(group) from None
    finally:
        for task in shown:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _interrupt(local: LocalRun) -> None:
    stderr.print("stopping: waiting for the calls that are out (Ctrl-C again: do not wait)")
    local.interrupt()


def _only(group: BaseExceptionGroup[Any]) -> BaseException:
    """The one exception that a task group wraps, or the group."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found


def _exit_code(result: LocalResult) -> int:
    if result.ending is None:
        return INTERRUPTED
    if result.ending.reason == Reason.INVALID:
        return USAGE
    return EXIT_CODES[state_of(result.run, result.ending)]


def _tell(result: LocalResult) -> None:
    """The job's end in a few lines: how it ended, what failed, the figures, where the files are."""
    report, run_ = result.report, result.run
    ending = result.ending
    state = state_of(run_, ending)
    style = {State.COMPLETE: "bold green", State.PARTIAL: "bold yellow", State.FAILED: "bold red"}.get(state, "bold")
    stderr.print(f"{run_.record.name}: ", style="bold", end="")
    stderr.print(f"{'Interrupted' if ending is None else state}", style=style, end="")
    stderr.print("" if ending is None else f" — {ending.message}", markup=False)
    if run_.ended_earlier:
        again = (
            "; --retry-failed runs what failed again"
            if report["chunks"]["failed"] + report["chunks"]["skipped"]
            else ""
        )
        stderr.print(f"  finished earlier, nothing was called; remove {run_.folder} to start anew{again}", markup=False)
    for failures in report.get("failures", []):
        example = failures["example"]
        where = f"item {example['item']}, chunk {example['chunk']}"
        stderr.print(
            f"  {failures['count']} × {failures['reason']}: {where}: {example['message']}", markup=False, style="red"
        )
    for name, value in _figures(report):
        stderr.print(f"  {name:<9} {value}", markup=False)
    names = ["results.jsonl", *([report["result"]["uri"]] if "result" in report else []), "report.json"]
    stderr.print(f"  {'files':<9} {', '.join(str(run_.folder / name) for name in names)}", markup=False)


def _figures(report: dict[str, Any]) -> list[tuple[str, str]]:
    chunks, calls, usage, latency = report["chunks"], report["calls"], report["usage"], report["latency"]
    tokens = f"{usage['inputTokens']} in, {usage['outputTokens']} out"
    if usage["estimatedTokens"]:
        tokens += f", {usage['estimatedTokens']} more estimated (calls that ended without telling)"
    parts = {
        "chunks": (chunks, ("planned", "succeeded", "failed", "skipped")),
        "calls": (calls, ("made", "retried", "rateLimited", "failedOver", "deduplicated")),
    }
    figures = [
        (name, ", ".join(f"{counts[k]} {_WORDS.get(k, k)}" for k in keys)) for name, (counts, keys) in parts.items()
    ]
    figures.append(("tokens", tokens))
    if "cost" in usage:
        figures.append(("cost", f"{usage['cost']} {usage['currency']}"))
    figures.append(("latency", ", ".join(f"{p} {latency[f'{p}Milliseconds']} ms" for p in ("p50", "p95", "p99"))))
    figures.append(("makespan", f"{report['makespanSeconds']:.2f} s"))
    return figures


_WORDS = {
    "rateLimited": "rate limited",
    "failedOver": "failed over",
    "deduplicated": "tasks answered by another's call",
}


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed: a third less CPU per call."""
    try:
        import uvloop  # noqa: PLC0415 - it is optional
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
