"""The table of endings (design.md §4), from the command line: exit code, state and conditions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import (
    COMPLETE,
    FAILED,
    PARTIAL,
    USAGE,
    Ended,
    Server,
    condition,
    conserved,
    endpoint,
    fanout,
    job,
    lines,
    manifest,
    report,
    serving,
)

TEXTS = [f"Text number {i}." for i in range(10)]
# One of ten fails, in planning: which one and why does not matter here.
ONE_FAILS = "{% if item.index == 3 %}{{ item.fields.nothing }}{% else %}{{ chunk.text }}{% endif %}"
ALL_FAIL = "{{ item.fields.nothing }}"
CONCAT = {"steps": [{"concat": {}}]}


def asks(prompt: str = "{{ chunk.text }}", **branch: Any) -> dict[str, Any]:
    branch = {"chat": {"prompt": prompt}, "retry": {"limit": 0}} | branch
    return {"branches": [{"name": "answer", "endpoints": ["local"], **branch}]}


def run(folder: Path, url: str, *words: str, **spec: Any) -> Ended:
    """`fanout run` of a job with this spec, into the folder's out/."""
    described = {"input": {"items": TEXTS}, "map": asks(), "reduce": CONCAT} | spec
    manifest(folder / "job.yaml", endpoint(url), job(**described))
    return fanout("run", "job.yaml", "-o", "out", *words, cwd=folder)


def ended_as(folder: Path, state: str, reason: str, *, complete: bool, output: bool, early: bool = False) -> None:
    """What report.json says, and whether there is an output. `early`: it may have ended before all was planned."""
    out = folder / "out"
    assert report(out)["state"] == state
    assert condition(out, "Planned") in [("True", "Planned"), *([("False", reason)] if early else [])]
    assert condition(out, "Complete") == (str(complete), reason)
    assert condition(out, "Failed") == (str(not complete), reason)
    assert condition(out, "Finished") == ("True", reason)
    assert (out / "output.txt").exists() == output
    assert ("result" in report(out)) == output
    assert len(lines(out / "results.jsonl")) == report(out)["chunks"]["planned"]


def test_complete(model: Server, tmp_path: Path) -> None:
    assert run(tmp_path, model.url).code == COMPLETE
    ended_as(tmp_path, "Complete", "Succeeded", complete=True, output=True)
    assert (tmp_path / "out/output.txt").read_text().strip() == "\n\n".join(TEXTS)


def test_enough_is_complete(model: Server, tmp_path: Path) -> None:
    ended = run(tmp_path, model.url, map=asks(ONE_FAILS), completion={"minSuccessPercent": 90})
    assert ended.code == COMPLETE
    ended_as(tmp_path, "Complete", "Succeeded", complete=True, output=True)
    assert conserved(tmp_path / "out")["failed"] == 1


def test_a_shortfall_is_partial(model: Server, tmp_path: Path) -> None:
    ended = run(tmp_path, model.url, map=asks(ONE_FAILS), completion={"minSuccessPercent": 91})
    assert ended.code == PARTIAL
    assert "9 of 10 chunks succeeded; completion.minSuccessPercent asks for 91 %" in ended.said
    ended_as(tmp_path, "Partial", "Partial", complete=True, output=True)
    assert (tmp_path / "out/output.txt").read_text().strip() == "\n\n".join(TEXTS[:3] + TEXTS[4:])


def test_a_shortfall_may_be_a_failure(model: Server, tmp_path: Path) -> None:
    completion = {"minSuccessPercent": 91, "onShortfall": "Fail"}
    ended = run(tmp_path, model.url, map=asks(ONE_FAILS), completion=completion)
    assert ended.code == FAILED
    ended_as(tmp_path, "Failed", "Shortfall", complete=False, output=False)
    assert conserved(tmp_path / "out")["succeeded"] == 9, "results stay readable"


def test_no_success_at_all_is_a_failure_whatever_is_asked_for(model: Server, tmp_path: Path) -> None:
    ended = run(tmp_path, model.url, map=asks(ALL_FAIL), completion={"minSuccessPercent": 0})
    assert ended.code == FAILED
    ended_as(tmp_path, "Failed", "NoSuccess", complete=False, output=False)
    assert model.calls == 0


def test_abort(tmp_path: Path) -> None:
    texts = [f"Text number {i}." for i in range(300)]
    with serving("--error-rate", "100", "--latency", "10ms") as server:
        ended = run(
            tmp_path, server.url, input={"items": texts}, completion={"abort": {"failedPercent": 60, "afterChunks": 20}}
        )
        calls = server.calls
    assert ended.code == FAILED
    assert "completion.abort: 60 % after 20 chunks" in ended.said
    ended_as(tmp_path, "Failed", "Aborted", complete=False, output=False, early=True)
    chunks = conserved(tmp_path / "out")
    assert chunks["failed"] >= 20
    assert calls < 100, "it stopped before everything was spent"


@pytest.mark.parametrize(
    ("completion", "reason", "words"),
    [
        ({"deadlineSeconds": 3}, "DeadlineExceeded", "completion.deadlineSeconds"),
        ({"partialAfter": {"timeoutSeconds": 1, "successPercent": 50}}, "Partial", "completion.partialAfter"),
    ],
    ids=["deadlineSeconds", "partialAfter"],
)
def test_stragglers_are_left_behind(completion: dict[str, Any], reason: str, words: str, tmp_path: Path) -> None:
    # With this seed some of the first ten calls hang, but not half of them.
    with serving("--hang-rate", "20", "--seed", "1") as server:
        ended = run(tmp_path, server.url, completion=completion)
        # The calls that were out are called back, not left hanging.
        assert server.stats()["inFlight"] == 0
        cancelled = server.stats()["cancelled"]
    assert ended.code == PARTIAL
    assert words in ended.said
    ended_as(tmp_path, "Partial", reason, complete=True, output=True)
    chunks = conserved(tmp_path / "out")
    assert chunks["skipped"] == cancelled > 0
    assert chunks["succeeded"] >= 5


def test_a_deadline_without_any_result_is_a_failure(tmp_path: Path) -> None:
    with serving("--hang-rate", "100") as server:
        ended = run(tmp_path, server.url, completion={"deadlineSeconds": 1})
    assert ended.code == FAILED
    ended_as(tmp_path, "Failed", "NoSuccess", complete=False, output=False)
    assert "completion.deadlineSeconds" in ended.said


def test_a_reduce_step_that_fails(model: Server, tmp_path: Path) -> None:
    steps = [{"concat": {"template": "{{ value.nothing.at.all }}"}}]
    ended = run(tmp_path, model.url, reduce={"steps": steps})
    assert ended.code == FAILED
    ended_as(tmp_path, "Failed", "ReduceFailed", complete=False, output=False)
    assert conserved(tmp_path / "out")["succeeded"] == 10, "results stay readable"


def test_an_input_that_breaks_off_keeps_what_it_gave(model: Server, tmp_path: Path) -> None:
    whole = json.dumps([{"text": text} for text in TEXTS])
    (tmp_path / "data.json").write_text(whole[: len(whole) - 40])
    ended = run(tmp_path, model.url, input={"uri": "file://data.json"})
    assert ended.code == FAILED
    out = tmp_path / "out"
    assert report(out)["state"] == "Failed"
    assert condition(out, "Planned") == ("False", "InputFailed")
    assert condition(out, "Failed") == ("True", "InputFailed")
    assert condition(out, "Finished") == ("False", "InputFailed")
    results = lines(out / "results.jsonl")
    assert results
    # Mended, the job goes on: nothing is asked twice.
    (tmp_path / "data.json").write_text(whole)
    assert run(tmp_path, model.url, input={"uri": "file://data.json"}).code == COMPLETE
    assert [line["value"] for line in lines(out / "results.jsonl")] == TEXTS
    assert model.calls == 10


def test_several_jobs_share_an_endpoint_and_end_with_the_worst_code(model: Server, tmp_path: Path) -> None:
    good, short = job("good", input={"items": TEXTS}), job("short", input={"items": TEXTS}, map=asks(ONE_FAILS))
    manifest(tmp_path / "jobs.yaml", endpoint(model.url), good, short)
    ended = fanout("run", "jobs.yaml", "-o", "out", cwd=tmp_path)
    assert ended.code == PARTIAL
    assert "good: Complete" in ended.said
    assert "short: Partial" in ended.said
    assert conserved(tmp_path / "out/good")["succeeded"] == 10
    assert conserved(tmp_path / "out/short") == {
        "planned": 10,
        "succeeded": 9,
        "failed": 1,
        "skipped": 0,
        "inFlight": 0,
    }
    assert model.calls == 19
    assert model.stats()["maxInFlight"] <= 8
    assert fanout("run", "jobs.yaml", "-o", "out", "--set", "map.branches=[]", cwd=tmp_path).code == USAGE
    again = fanout("run", "jobs.yaml", "-o", "out", cwd=tmp_path)
    assert again.code == PARTIAL
    assert model.calls == 19
