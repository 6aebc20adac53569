"""What a run says at its end: how each job ended, what failed, the figures, where the files are."""

from __future__ import annotations

from typing import Any

from fanout.api.status import State
from fanout.cli.console import stderr
from fanout.engine.local import LocalResult
from fanout.engine.report import state_of

_STYLES = {State.COMPLETE: "bold green", State.PARTIAL: "bold yellow", State.FAILED: "bold red"}
_OF_CALLS = {
    "retried": "retried",
    "rateLimited": "rate limited",
    "failedOver": "failed over",
    "deduplicated": "tasks answered by another's call",
}


def tell(result: LocalResult) -> None:
    """The job's end in a few lines."""
    report, run, ending = result.report, result.run, result.ending
    state = state_of(run, ending)
    stderr.print(f"{run.record.name}: ", style="bold", end="")
    stderr.print("Interrupted" if ending is None else str(state), style=_STYLES.get(state, "bold"), end="")
    stderr.print("" if ending is None else f" — {ending.message}", markup=False)
    for failures in report.get("failures", []):
        example = failures["example"]
        where = f"item {example['item']}, chunk {example['chunk']}"
        first = "" if failures["count"] == 1 else ", first"
        stderr.print(
            f"  {failures['count']} × {failures['reason']}{first}: {where}: {example['message']}",
            markup=False,
            style="red",
        )
    for name, value in [*_figures(report), ("files", f"{', '.join(_files(report))} in {run.folder}")]:
        stderr.print(f"  {name:<9} {value}", markup=False)
    if (advice := _advice(result)) is not None:
        stderr.print(f"  {advice}", markup=False)


def _figures(report: dict[str, Any]) -> list[tuple[str, str]]:
    chunks, calls, usage, latency = report["chunks"], report["calls"], report["usage"], report["latency"]
    # Of calls only what happened: four zeros would hide the one number that is none.
    happened = [f"{calls[name]} {words}" for name, words in _OF_CALLS.items() if calls[name]]
    tokens = f"{usage['inputTokens']} in, {usage['outputTokens']} out"
    if usage["estimatedTokens"]:
        tokens += f", {usage['estimatedTokens']} more estimated (calls that ended without telling)"
    figures = [
        ("chunks", ", ".join(f"{chunks[name]} {name}" for name in ("planned", "succeeded", "failed", "skipped"))),
        ("calls", ", ".join([f"{calls['made']} made", *happened])),
        ("tokens", tokens),
    ]
    if "cost" in usage:
        figures.append(("cost", f"{usage['cost']} {usage['currency']}"))
    if chunks["succeeded"]:
        figures.append(("latency", ", ".join(f"{p} {latency[f'{p}Milliseconds']} ms" for p in ("p50", "p95", "p99"))))
        figures.append(("makespan", f"{report['makespanSeconds']:.2f} s"))
    return figures


def _files(report: dict[str, Any]) -> list[str]:
    """What there is to read; failures only where there are some."""
    failures = ["failures.jsonl"] if report["chunks"]["failed"] else []
    output = [report["result"]["uri"]] if "result" in report else []
    return ["results.jsonl", *failures, *output, "report.json"]


def _advice(result: LocalResult) -> str | None:
    """What else the same command can do for a job that is over."""
    chunks = result.report["chunks"]
    # A record that is broken stays broken: only what was to be asked of a model can be asked again.
    open_again = chunks["skipped"] or any("endpoint" in f["example"] for f in result.report.get("failures", []))
    retry = "--retry-failed runs what failed again, and only that" if open_again else ""
    if result.run.ended_earlier:
        said = f"finished earlier, nothing was called; remove {result.run.folder} to start anew"
        return f"{said}; {retry}" if retry else said
    over = result.ending is not None and result.run.record.finished_at is not None
    return f"the same command with {retry}" if over and retry else None
