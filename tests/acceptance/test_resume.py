"""Killed, changed, finished: what running the same command again does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from command import (
    COMPLETE,
    FAILED,
    PARTIAL,
    USAGE,
    Server,
    conserved,
    endpoint,
    fanout,
    finish,
    job,
    jsonl,
    kill,
    lines,
    manifest,
    report,
    serving,
    start,
    until,
)

from fanout.ledger.schema import CallState

RECORDS = [{"id": f"r{i}", "text": f"Record number {i} of the file."} for i in range(120)]
MANY = 15_000
VECTORS = {
    "map": {"branches": [{"name": "vector", "endpoints": ["local"], "embed": {}, "batch": {"maxItems": 500}}]},
}
CONCURRENCY = 8


@pytest.fixture(scope="module")
def slow() -> Iterator[Server]:
    """120 calls take it 1.2 s, eight at a time."""
    with serving("--latency", "80ms") as server:
        yield server


@pytest.fixture
def model_in_no_hurry(slow: Server) -> Server:
    slow.reset()
    return slow


def write(folder: Path, server: Server, **spec: Any) -> Path:
    """A job over data.jsonl."""
    described = job(input={"uri": "file://data.jsonl", "idField": "id"}, **spec)
    return manifest(folder / "job.yaml", endpoint(server.url), described)


def ledger_row(out: Path, query: str) -> tuple[Any, ...]:
    """The first row that a query of the ledger gives; empty where there is none (yet)."""
    if not (out / "ledger.db").exists():
        return ()
    with closing(sqlite3.connect(f"file:{out / 'ledger.db'}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute(query).fetchone() or ()
        except sqlite3.OperationalError:  # no tables yet
            return ()


def planned(out: Path) -> tuple[int, bool]:
    """Items that the ledger has, and whether that is all of them."""
    items, all_of_them = ledger_row(out, "SELECT items, planned FROM jobs") or (0, 0)
    return items, bool(all_of_them)


def in_flight(out: Path) -> int:
    """Calls that went out and whose answers were not yet written down: those that may be made twice."""
    (count,) = ledger_row(out, f"SELECT count(*) FROM calls WHERE state = {CallState.LEASED:d}")
    # An answer frees its slot before it is written down, so for a moment the next call stands beside it.
    assert 0 < count <= 2 * CONCURRENCY
    return int(count)


def ids(out: Path) -> list[str]:
    return [line["item"] for line in lines(out / "results.jsonl")]


def kill_in_the_middle(words: list[str | Path], server: Server, folder: Path, calls: int) -> int:
    """kill -9 once the server has got that many calls. Returns how many were in flight."""
    process = start(*words, cwd=folder)
    until(lambda: server.calls >= calls or process.poll() is not None, f"{calls} calls")
    assert process.poll() is None, "it ended before it could be killed"
    kill(process)
    # What was in flight ends at the server, one way or another, before anything is counted.
    until(lambda: server.stats()["inFlight"] == 0, "the end of the calls in flight")
    return in_flight(folder / "out")


def test_kill_9_costs_only_the_calls_in_flight(model_in_no_hurry: Server, tmp_path: Path) -> None:
    server, out = model_in_no_hurry, tmp_path / "out"
    jsonl(tmp_path / "data.jsonl", RECORDS)
    words: list[str | Path] = ["run", write(tmp_path, server), "-o", out]
    twice = kill_in_the_middle(words, server, tmp_path, 60)
    assert planned(out) == (len(RECORDS), True)
    # Nothing is read from the input again: it may as well be gone.
    (tmp_path / "data.jsonl").unlink()

    ended = fanout(*words, cwd=tmp_path)
    assert ended.code == COMPLETE, ended.stderr
    assert ids(out) == [record["id"] for record in RECORDS]
    assert conserved(out)["succeeded"] == len(RECORDS)
    assert len(RECORDS) <= server.calls <= len(RECORDS) + twice

    # Finished is finished, and ends as it did.
    before, files = server.calls, {path.name: path.read_bytes() for path in out.glob("*.json*")}
    again = fanout(*words, cwd=tmp_path)
    assert again.code == COMPLETE
    assert server.calls == before
    assert {path.name: path.read_bytes() for path in out.glob("*.json*")} == files


def test_a_changed_manifest_is_refused_where_the_plan_depends_on_it(model_in_no_hurry: Server, tmp_path: Path) -> None:
    server, out = model_in_no_hurry, tmp_path / "out"
    jsonl(tmp_path / "data.jsonl", RECORDS)
    words: list[str | Path] = ["run", write(tmp_path, server), "-o", out]
    twice = kill_in_the_middle(words, server, tmp_path, 40)
    before = server.calls

    ended = fanout(*words, "--set", "map.branches[0].chat.prompt=Repeat {{ chunk.text }}", cwd=tmp_path)
    assert ended.code == USAGE
    assert "spec.map.branches[0].chat.prompt" in ended.said
    assert "another folder" in ended.said
    assert server.calls == before

    changes = ("--set", "map.parallelism=4", "--set", "completion.minSuccessPercent=90")
    ended = fanout(*words, *changes, cwd=tmp_path)
    assert ended.code == COMPLETE, ended.stderr
    assert ids(out) == [record["id"] for record in RECORDS]
    assert server.calls <= len(RECORDS) + twice


def kill_while_planning(words: list[str | Path], folder: Path) -> int:
    """kill -9 as soon as the first items are planned. Returns how many were."""
    process = start(*words, cwd=folder)
    until(lambda: planned(folder / "out")[0] > 0 or process.poll() is not None, "the first planned items")
    kill(process)
    items, all_of_them = planned(folder / "out")
    assert 0 < items < MANY
    assert not all_of_them
    return items


def test_planning_goes_on_where_it_was(tmp_path: Path) -> None:
    records = [{"id": f"r{i}", "text": f"Record number {i}."} for i in range(MANY)]
    out = tmp_path / "out"
    with serving("--dimensions", "2") as server:
        words: list[str | Path] = ["run", write(tmp_path, server, **VECTORS), "-o", out]
        jsonl(tmp_path / "data.jsonl", records)
        kill_while_planning(words, tmp_path)

        # Another input would make a plan that is half of the one, half of the other.
        jsonl(tmp_path / "data.jsonl", [{"id": "r0", "text": "Another record."}, *records[1:]])
        ended = fanout(*words, cwd=tmp_path)
        assert ended.code == FAILED
        assert "the input changed" in ended.said
        assert "another folder" in ended.said

        jsonl(tmp_path / "data.jsonl", records)
        ended = fanout(*words, cwd=tmp_path)
        assert ended.code == COMPLETE, ended.stderr
        assert ids(out) == [record["id"] for record in records]
        assert report(out)["chunks"]["succeeded"] == MANY
        assert MANY // 500 <= server.calls <= MANY // 500 + 2 * CONCURRENCY


def test_retry_failed_runs_what_failed_and_only_that(tmp_path: Path) -> None:
    jsonl(tmp_path / "data.jsonl", [{"id": "bad", "text": 7, "more": {}}, *RECORDS[:20]])
    out = tmp_path / "out"
    once = {
        "branches": [
            {"name": "answer", "endpoints": ["local"], "retry": {"limit": 0}, "chat": {"prompt": "{{ chunk.text }}"}}
        ]
    }
    with serving("--error-rate", "50") as ill, serving() as well:
        words: list[str | Path] = [
            "run",
            write(tmp_path, ill, map=once, completion={"minSuccessPercent": 90}),
            "-o",
            out,
        ]
        ended = fanout(*words, cwd=tmp_path)
        assert ended.code == PARTIAL, ended.stderr
        failed = conserved(out)["failed"]
        assert 0 < failed < 21
        assert fanout(*words, cwd=tmp_path).code == PARTIAL
        assert ill.calls == 21

        kept = {line["item"]: line for line in lines(out / "results.jsonl") if line["status"] == "Succeeded"}
        ended = fanout(*words, "--retry-failed", "--set", f"ModelEndpoint/local:url={well.url}", cwd=tmp_path)
        assert ended.code == COMPLETE, ended.stderr
        assert ill.calls == 21
        assert well.calls == failed
        assert conserved(out)["failed"] == 0
        results = {line["item"]: line for line in lines(out / "results.jsonl")}
        assert {item: results[item] for item in kept} == kept


def test_one_process_a_folder(model_in_no_hurry: Server, tmp_path: Path) -> None:
    server, out = model_in_no_hurry, tmp_path / "out"
    jsonl(tmp_path / "data.jsonl", RECORDS)
    words: list[str | Path] = ["run", write(tmp_path, server), "-o", out]
    first = start(*words, cwd=tmp_path)
    until(lambda: server.calls > 0, "the first call")
    ended = fanout(*words, cwd=tmp_path)
    assert ended.code == USAGE
    assert "another Fanout is at work" in ended.said
    assert str(out) in ended.said
    assert finish(first).code == COMPLETE
    assert server.calls == len(RECORDS)
