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
from fanout.cli.summary import tell
from fanout.engine.engine import JobChangedError, TemplateFailedError
from fanout.engine.local import INTERRUPT_GRACE_SECONDS, LocalJob, LocalResult, LocalRun
from fanout.engine.report import state_of
from fanout.ledger.store import LedgerInUseError, LedgerVersionError
from fanout.planning.source import SourceError

SAME_SIGNAL_SECONDS = 0.1
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
    except (LedgerInUseError, LedgerVersionError, JobChangedError, TemplateFailedError, SourceError) as error:
        fail(str(error))
    except DBAPIError as error:
        advice = "make room" if "full" in str(error.orig) else "choose another folder (-o), or remove this one"
        fail(f"the ledger in {out} cannot be read or written: {error.orig}: {advice}", FAILED)
    except OSError as error:
        fail(f"cannot write to {error.filename or out}: {error.strerror}: choose another folder (-o)")
    for result in results:
        tell(result)
    if any(result.run.interrupted for result in results):
        stderr.print(f"interrupted; the results so far are in {out}; run the same command again to go on")
        raise typer.Exit(INTERRUPTED)
    # Several jobs: the worst of their codes, wrong input before failure before shortfall.
    codes = {_exit_code(result) for result in results}
    raise typer.Exit(next(code for code in (USAGE, FAILED, PARTIAL, OK) if code in codes))


async def _run(jobs: list[LocalJob], loaded: Loaded, out: Path, *, retry_failed: bool) -> list[LocalResult]:
    local = LocalRun(jobs, loaded.endpoints, loaded.credentials, out, retry_failed=retry_failed)
    loop = asyncio.get_running_loop()
    stop = _Stop(local)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
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


class _Stop:
    """What a signal does: the first stops the run, another one does not even wait.

    What comes at once after one is the same: timeout(1) signals the command, and then its group.
    """

    def __init__(self, local: LocalRun) -> None:
        self._local = local
        self._came: float | None = None

    def __call__(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._came is not None and now - self._came < SAME_SIGNAL_SECONDS:
            return
        self._came = now
        if self._local.interrupt():
            seconds = f"{INTERRUPT_GRACE_SECONDS:g} s"
            stderr.print(f"stopping: waiting up to {seconds} for the calls that are out (Ctrl-C: do not wait)")
        else:
            stderr.print("stopping at once: the calls that are out will be made again")


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


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed: a third less CPU per call."""
    try:
        import uvloop  # noqa: PLC0415 - it is optional
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
