"""plan, validate, crds, simulate, --version, and the ways to use them wrongly."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from command import (
    COMPLETE,
    FANOUT,
    USAGE,
    Server,
    endpoint,
    fanout,
    job,
    jsonl,
    lines,
    manifest,
    serving,
)

from fanout import __version__

ROOT = Path(__file__).parents[2]
PRICES = {"pricing": {"inputPerMillionTokens": "1.00", "outputPerMillionTokens": "2.00"}}
TEXTS = [f"Text number {i}." for i in range(20)]


def batched(**chat: Any) -> dict[str, Any]:
    """A map that asks five texts to a call."""
    prompt = {"prompt": "Label: {{ chunk.text }}", "parameters": {"max_tokens": 16}} | chat
    return {"branches": [{"name": "label", "endpoints": ["local"], "chat": prompt, "batch": {"maxItems": 5}}]}


# plan


def test_plan_tells_what_a_job_would_do_and_calls_nothing(model: Server, tmp_path: Path) -> None:
    synthesize = {"endpoints": ["local"], "prompt": "Sum up: {{ parts | join(' ') }}", "maxPartsPerCall": 5}
    described = job("labels", input={"items": TEXTS}, map=batched(), reduce={"steps": [{"synthesize": synthesize}]})
    manifest(tmp_path / "job.yaml", endpoint(model.url, **PRICES), described)
    ended = fanout("plan", "job.yaml", "--seconds-per-call", "3", cwd=tmp_path)
    assert ended.code == COMPLETE, ended.stderr
    assert "labels: 20 chunks" in ended.stdout
    rows = {row[0]: row[1:] for row in (line.split() for line in ended.stdout.splitlines()) if row}
    calls, tasks, tokens_in, tokens_out, cost, currency = rows["label"]
    assert (calls, tasks) == ("4", "20")
    assert int(tokens_in.removeprefix("~")) > 4 * 20
    assert int(tokens_out) >= 20 * 16
    assert float(cost) > 0
    assert currency == "USD"
    # 20 texts, five to a call, four calls to one: 20 → 4 → 1.
    assert rows["synthesis"][:2] == ["5", "24"]
    # Calls of a level run side by side (8 at once), levels one after the other.
    assert "time: about 9 s, for 9 calls of 3 s" in ended.said
    assert "first request of label" in ended.stdout
    assert "Label: Text number" in ended.stdout
    assert model.calls == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.yaml"]


def test_plan_tells_what_cannot_be_planned(model: Server, tmp_path: Path) -> None:
    jsonl(tmp_path / "data.jsonl", [{"id": "a", "text": "A."}, {"id": "a", "text": "B."}, 4, 5])
    manifest(tmp_path / "job.yaml", endpoint(model.url), job(input={"uri": "file://data.jsonl", "idField": "id"}))
    ended = fanout("plan", "job.yaml", cwd=tmp_path)
    assert ended.code == COMPLETE
    assert "4 chunks, 3 of them can't be planned" in ended.said
    assert '1 × DuplicateId: data.jsonl line 2: the id "a" is taken' in ended.said
    assert "2 × InvalidRecord, first: data.jsonl line 3" in ended.said


def test_plan_of_what_is_not_there(model: Server, tmp_path: Path) -> None:
    manifest(tmp_path / "job.yaml", endpoint(model.url), job(input={"uri": "file://data.jsonl"}))
    ended = fanout("plan", "job.yaml", cwd=tmp_path)
    assert ended.code == USAGE
    assert "no such file" in ended.said


# validate


def test_validate_tells_every_fault_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(
        """\
apiVersion: fanout.dev/v1alpha1
kind: FanOutJob
metadata: {name: wrong}
spec:
  input:
    items: [a]
    uri: file://data.jsonl
  map:
    parallelism: many
    branches:
    - name: answer
      endpoints: [nowhere]
      chat: {prompt: "{{ chunk.tekst }}"}
  reduse: {}
"""
    )
    ended = fanout("validate", "job.yaml", cwd=tmp_path)
    assert ended.code == USAGE
    for place, words in {
        "job.yaml:5: spec.input": "exactly one source",
        "job.yaml:9: spec.map.parallelism": "must be a whole number",
        "job.yaml:14: spec.reduse": "did you mean reduce?",
    }.items():
        (line,) = [line for line in ended.stderr.splitlines() if line.startswith(place + ":")]
        assert words in line
    assert "3 faults" in ended.stderr

    # Once the form is right, what it refers to is looked at.
    corrected = ("--set", "input.uri=null", "--set", "map.parallelism=3", "--set", "reduse=null")
    ended = fanout("validate", "job.yaml", *corrected, cwd=tmp_path)
    assert ended.code == USAGE
    assert "spec.map.branches[0].endpoints[0]" in ended.said
    assert "chunk.tekst" in ended.said
    assert "2 faults" in ended.stderr


def test_validate_warns_of_context_that_every_call_repeats(model: Server, tmp_path: Path) -> None:
    branch = {
        "name": "answer",
        "endpoints": ["local"],
        "chat": {"system": "Know this. " * 500, "prompt": "{{ chunk.text }}"},
    }
    manifest(tmp_path / "job.yaml", endpoint(model.url), job(input={"items": TEXTS}, map={"branches": [branch]}))
    ended = fanout("validate", "job.yaml", cwd=tmp_path)
    assert ended.code == COMPLETE
    assert "warning: job.yaml:" in ended.stderr
    assert "spec.map.branches[0].chat" in ended.stderr
    assert "the same in every call" in ended.said
    assert "valid: 1 job(s), 1 endpoint(s)" in ended.stdout
    assert model.calls == 0


# crds


def test_crds_are_those_of_the_repository(tmp_path: Path) -> None:
    ended = fanout("crds", cwd=tmp_path)
    assert ended.code == COMPLETE
    printed = {crd["metadata"]["name"]: crd for crd in yaml.safe_load_all(ended.stdout)}
    kept = [yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml")]
    assert printed == {crd["metadata"]["name"]: crd for crd in kept}
    assert set(printed) == {"fanoutjobs.fanout.dev", "modelendpoints.fanout.dev"}


# simulate


def test_simulate_says_where_it_is_and_what_it_served() -> None:
    with serving("--latency", "1ms,2ms", "--stragglers", "1x20") as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert server.url.endswith("/v1")
        assert server.stats()["requests"] == 0
        # The port is taken now: a second one says so.
        port = server.url.rsplit(":", 1)[1].removesuffix("/v1")
        ended = fanout("simulate", "--port", port, cwd=Path.cwd())
    assert ended.code == USAGE
    assert f"127.0.0.1:{port} is in use" in ended.said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--latency", "soon"], '"soon" is not a duration: write it as 500ms'),
        (["--error-rate", "101"], "a whole number of percent from 0 to 100"),
        (["--error-rate", "60", "--hang-rate", "50"], "the shares add up to 110 %"),
        (["--nonsense"], "No such option: --nonsense"),
    ],
)
def test_simulate_refuses_what_makes_no_sense(words: list[str], message: str, tmp_path: Path) -> None:
    ended = fanout("simulate", *words, cwd=tmp_path)
    assert ended.code == USAGE
    assert message in ended.said


# Using them


def test_version(tmp_path: Path) -> None:
    ended = fanout("--version", cwd=tmp_path)
    assert (ended.code, ended.stdout) == (COMPLETE, f"{__version__}\n")


@pytest.mark.parametrize("command", [[], ["run"], ["simulate"]], ids=" ".join)
def test_help(command: list[str], tmp_path: Path) -> None:
    ended = fanout(*command, "--help", cwd=tmp_path, environment={"COLUMNS": "80"})
    assert ended.code == COMPLETE
    assert ended.stdout.startswith(f"Usage: fanout {' '.join([*command, '[OPTIONS]'])}")
    assert max(len(line) for line in ended.stdout.splitlines()) <= 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "Missing argument 'FILE'"),
        (["rum"], "Did you mean 'run'?"),
        (["run", "empty.yaml"], "empty.yaml: holds no manifest"),
        (["run", "endpoint.yaml"], "there is no FanOutJob in these files"),
        (["run", "job.yaml", "--set", "parallelism"], "write path=value"),
        (["run", "job.yaml", "--set", "map.paralelism=3"], "did you mean parallelism?"),
        (["run", "job.yaml", "--set", "Endpoint:url=x"], "ModelEndpoint"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(words: list[str], message: str, model: Server, tmp_path: Path) -> None:
    manifest(tmp_path / "job.yaml", endpoint(model.url), job(input={"items": TEXTS}))
    manifest(tmp_path / "endpoint.yaml", endpoint(model.url))
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    ended = fanout(*words, cwd=tmp_path)
    assert ended.code == USAGE
    assert message in ended.said
    assert model.calls == 0
    assert {path.name for path in tmp_path.iterdir()} == {"job.yaml", "endpoint.yaml", "empty.yaml"}, "nothing was made"


def test_without_an_output_folder_it_takes_one_of_the_jobs_name(model: Server, tmp_path: Path) -> None:
    manifest(tmp_path / "one.yaml", endpoint(model.url), job("labels", input={"items": TEXTS}))
    assert fanout("run", "one.yaml", cwd=tmp_path).code == COMPLETE
    assert len(lines(tmp_path / "fanout-labels/results.jsonl")) == 20


def test_a_manifest_from_standard_input_and_settings_on_the_command_line(model: Server, tmp_path: Path) -> None:
    written = manifest(
        tmp_path / "job.yaml", endpoint("http://127.0.0.1:9/v1"), job(input={"items": TEXTS})
    ).read_text()
    words = ["run", "-", "-o", "out", "--set", f"ModelEndpoint/local:url={model.url}", "--set", "map.parallelism=2"]
    ended = subprocess.run(
        [FANOUT, *words],
        input=written,
        cwd=tmp_path,
        env=os.environ,
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == COMPLETE, ended.stderr
    assert model.calls == 20
    assert model.stats()["maxInFlight"] <= 2
