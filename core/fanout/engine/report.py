"""A job's status, live and at the end; report.json is the status and the makespan."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fanout.api.status import (
    CallCounts,
    ChunkCounts,
    Condition,
    FailureExample,
    Failures,
    FanOutJobStatus,
    Latencies,
    Reason,
    ResultRef,
    State,
    Usage,
)
from fanout.engine.completion import COMPLETE
from fanout.engine.job_run import JobRun
from fanout.engine.progress import PERCENTS
from fanout.fanin.accounting import money
from fanout.fanin.aggregator import COUNTED_CALLS
from fanout.ledger import results
from fanout.ledger.jobs import Ending
from fanout.ledger.schema import Settled
from fanout.ledger.store import Ledger

MOST_REASONS = 20


def state_of(run: JobRun, ending: Ending | None) -> State:
    """The word for people."""
    if ending is not None:
        if ending.reason == Reason.SUCCEEDED:
            return State.COMPLETE
        return State.PARTIAL if ending.reason in COMPLETE else State.FAILED
    if run.reducing:
        return State.REDUCING
    return State.RUNNING if run.progress.planned else State.PLANNING


async def status_of(run: JobRun, ledger: Ledger, ending: Ending | None) -> FanOutJobStatus:
    """Everything that is known of the job now."""
    progress, counts = run.progress, run.progress.counts
    latency = progress.percentiles()
    if run.record.finished_at is not None:
        async with ledger.read() as connection:
            latency = await results.latency_percentiles(connection, run.record.job, PERCENTS)
    async with ledger.read() as connection:
        dropped = await results.dropped(connection, run.record.job)
    return FanOutJobStatus(
        observed_generation=1,
        conditions=conditions(run, ending),
        state=state_of(run, ending),
        limited_by=None if ending else run.limited_by(),
        start_time=timestamp(run.record.created_at),
        completion_time=timestamp(run.record.finished_at) if run.record.finished_at else None,
        chunks=ChunkCounts(
            planned=counts.planned,
            succeeded=counts.succeeded,
            failed=counts.failed,
            skipped=counts.skipped,
        ),
        progress_percent=percent(run, ending),
        latency=Latencies(p50_milliseconds=latency[0], p95_milliseconds=latency[1], p99_milliseconds=latency[2]),
        calls=CallCounts(
            **{name: progress.calls[name] for name in COUNTED_CALLS},
            deduplicated=progress.deduplicated,
            dropped=dropped,
        ),
        usage=usage_of(run),
        failures=await _failures(run),
        result=_result(run.output) if ending and ending.reason in COMPLETE else None,
    )


async def report_of(run: JobRun, ledger: Ledger, ending: Ending | None) -> dict[str, Any]:
    """What report.json holds."""
    status = await status_of(run, ledger, ending)
    return {
        "job": run.record.name,
        **status.model_dump(mode="json", exclude_none=True),
        "makespanSeconds": round(run.progress.makespan, 3),
    }


def percent(run: JobRun, ending: Ending | None) -> int:
    """Settled of planned chunks; 100 only at the end."""
    if ending is not None and run.record.finished_at is not None:
        return 100
    if not run.progress.planned:
        return 0
    return min(99, run.progress.settled * 100 // run.progress.planned)


def usage_of(run: JobRun) -> Usage:
    """Tokens and money so far."""
    calls, currency = run.progress.calls, run.currency
    return Usage(
        input_tokens=calls["input_tokens"],
        cached_input_tokens=calls["cached_input_tokens"],
        output_tokens=calls["output_tokens"],
        estimated_tokens=calls["estimated_tokens"],
        cost=money(calls["cost"]) if currency else None,
        currency=currency,
    )


def conditions(run: JobRun, ending: Ending | None) -> list[Condition]:
    """Planned, Complete, Failed, Finished."""
    planned = run.progress.planning_done
    now = timestamp(run.record.finished_at or run.record.created_at)

    def condition(kind: str, holds: bool, reason: str, message: str) -> Condition:
        status = "True" if holds else "False"
        return Condition.model_validate(
            {"type": kind, "status": status, "reason": reason, "message": message[:2048], "lastTransitionTime": now}
        )

    # A job can end before all of its input is planned: then by what ended it.
    unplanned = Reason.PLANNING if ending is None else ending.reason
    said = f"{run.progress.planned} chunks{'' if planned else ' so far'}"
    found = [condition("Planned", planned, Reason.PLANNED if planned else unplanned, said)]
    if ending is None:
        return found + [condition(k, False, Reason.NOT_FINISHED, "") for k in ("Complete", "Failed", "Finished")]
    complete = ending.reason in COMPLETE
    return [
        *found,
        condition("Complete", complete, ending.reason, ending.message),
        condition("Failed", not complete, ending.reason, ending.message),
        condition("Finished", run.record.finished_at is not None, ending.reason, ending.message),
    ]


async def _failures(run: JobRun) -> list[Failures]:
    """Failed chunks by reason, each with its first example."""
    if not run.progress.states[Settled.FAILED]:
        return []
    counts: dict[str, int] = {}
    examples: dict[str, FailureExample] = {}
    async for chunk in run.reader.chunks(state=Settled.FAILED):
        error = chunk.failure() or {"reason": "Unknown", "message": ""}
        reason = error["reason"]
        counts[reason] = counts.get(reason, 0) + 1
        if reason not in examples:
            examples[reason] = FailureExample(
                item=chunk.item,
                chunk=chunk.index,
                endpoint=error.get("endpoint"),
                http_status=error.get("httpStatus"),
                request_id=error.get("requestId"),
                message=error["message"],
            )
    frequent = sorted(counts, key=lambda reason: -counts[reason])[:MOST_REASONS]
    return [Failures(reason=reason, count=counts[reason], example=examples[reason]) for reason in frequent]


def _result(output: Path | None) -> ResultRef | None:
    if output is None or not output.exists():
        return None
    with output.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return ResultRef(uri=output.name, bytes=output.stat().st_size, sha256=digest)


def timestamp(unix: float) -> str:
    """RFC 3339, in UTC, to the second."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
