"""What is wrong, where, and what to do: whatever a user gets wrong, and whatever a server does. The results so far stay."""

from __future__ import annotations

from collections.abc import Iterator
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
    conserved,
    endpoint,
    fanout,
    job,
    jsonl,
    lines,
    manifest,
    report,
    serving,
)

TEXTS = ["The first text of three.", "The second text of three.", "The third text of three."]
LABEL = {"type": "object", "required": ["label"], "properties": {"label": {"type": "string"}}}
RIGHT_KEY, WRONG_KEY = "sk-right-0123456789", "sk-wrong-9876543210"
AUTH = {"auth": {"secretRef": {"name": "provider", "key": "api-key"}}}


def asks(**branch: Any) -> dict[str, Any]:
    """A map that asks the texts once, and once more after a failure."""
    once_more = {"limit": 1, "maxBackoffSeconds": 1}
    branch = {"chat": {"prompt": "{{ chunk.text }}"}, "retry": once_more} | branch
    return {"branches": [{"name": "answer", "endpoints": ["local"], **branch}]}


def run(folder: Path, url: str, *words: str, environment: dict[str, str] | None = None, **spec: Any) -> Ended:
    """`fanout run` of a job with this spec, into the folder's out/."""
    provider = spec.pop("provider", {})
    manifest(folder / "job.yaml", endpoint(url, **provider), job(**{"input": {"items": TEXTS}} | spec))
    return fanout("run", "job.yaml", "-o", "out", *words, cwd=folder, environment=environment)


def reasons(folder: Path) -> dict[str, int]:
    """Failed chunks by reason, as the report has them."""
    return {failures["reason"]: failures["count"] for failures in report(folder / "out")["failures"]}


def failures(folder: Path) -> dict[str, dict[str, Any]]:
    """The errors of failures.jsonl, by item."""
    return {line["item"]: line["error"] for line in lines(folder / "out" / "failures.jsonl")}


def values(folder: Path) -> list[Any]:
    """The answers of results.jsonl."""
    return [line["value"] for line in lines(folder / "out" / "results.jsonl")]


# The manifest


def refused(ended: Ended, model: Server, folder: Path, *words: str) -> None:
    """Exit code 2 with these words; nothing was called, and nothing lies around."""
    assert ended.code == USAGE
    for word in words:
        assert word in ended.said
    assert model.calls == 0
    assert not (folder / "out" / "results.jsonl").exists()


def test_a_manifest_that_is_not_there(model: Server, tmp_path: Path) -> None:
    ended = fanout("run", "nowhere.yaml", "-o", "out", cwd=tmp_path)
    refused(ended, model, tmp_path, "nowhere.yaml", "no such file")


def test_bad_yaml(model: Server, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("kind: FanOutJob\nspec:\n  input: {items: [a, b\n  map: 3\n")
    ended = fanout("run", "job.yaml", "-o", "out", cwd=tmp_path)
    refused(ended, model, tmp_path, "job.yaml:4", "not YAML", "not closed")


def test_unknown_fields_templates_patterns_schemas_and_endpoints_are_told_at_once(
    model: Server, tmp_path: Path
) -> None:
    branch = {
        "endpoints": ["lokal"],
        "chat": {"prompt": "{{ chunk.txt }} {{ chnk }}", "responseSchema": {"type": "objekt"}},
    }
    wrong: dict[str, Any] = {"split": {"by": "Pattern", "pattern": "(?=Section)"}, "map": asks(**branch)}
    ended = run(tmp_path, model.url, **wrong)
    refused(
        ended,
        model,
        tmp_path,
        *("job.yaml:", "spec.map.branches[0].endpoints[0]", '"lokal"', "did you mean local?"),
        *("spec.map.branches[0].chat.prompt", "chunk.txt", "did you mean", "chunk.text", "chnk"),
        *("spec.map.branches[0].chat.responseSchema.type", "objekt"),
        *("spec.split.pattern", "RE2"),
        "5 faults",
    )
    ended = run(tmp_path, model.url, completion={"minSuccesPercent": 90})
    refused(ended, model, tmp_path, "spec.completion.minSuccesPercent", "did you mean minSuccessPercent?")


def test_a_system_message_that_cannot_be_rendered(model: Server, tmp_path: Path) -> None:
    chat = {"system": "You are {{ params.role.name }}.", "prompt": "{{ chunk.text }}"}
    ended = run(tmp_path, model.url, params={"role": 3}, map=asks(chat=chat))
    refused(ended, model, tmp_path, "spec.map.branches[0].chat.system", "no attribute 'name'")


# The input


def test_an_input_that_is_not_there(model: Server, tmp_path: Path) -> None:
    ended = run(tmp_path, model.url, input={"uri": "file://data.jsonl"})
    refused(ended, model, tmp_path, "input.uri", "no such file", str(tmp_path / "data.jsonl"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "data.jsonl").mkdir()
    refused(run(tmp_path, model.url, input={"uri": "file://data.jsonl"}), model, tmp_path, "is a folder")


def test_a_url_that_cannot_be_read_is_corrected_in_place(model: Server, tmp_path: Path) -> None:
    ended = run(tmp_path, model.url, input={"uri": "https://127.0.0.1:9/data.jsonl"})
    assert ended.code == FAILED
    assert "input.uri: https://127.0.0.1:9/data.jsonl cannot be read: connection refused" in ended.said
    assert report(tmp_path / "out")["state"] == "Failed"
    # Nothing was planned, so nothing binds the job to what was wrong.
    assert run(tmp_path, model.url).code == COMPLETE
    assert model.calls == 3


def test_bad_lines_of_json(model: Server, tmp_path: Path) -> None:
    written = [
        '{"id": "a", "text": "A."}',
        '{"id": "b", "text":',
        '{"id": "a", "text": "Again."}',
        '{"text": "No id."}',
    ]
    (tmp_path / "data.jsonl").write_text("\n".join([*written, '{"id": "c", "text": "C."}']) + "\n")
    ended = run(tmp_path, model.url, input={"uri": "file://data.jsonl", "idField": "id"})
    assert ended.code == PARTIAL
    assert values(tmp_path) == ["A.", None, None, None, "C."]
    found = failures(tmp_path)
    assert {item: error["reason"] for item, error in found.items()} == {
        "position:1": "InvalidRecord",
        "position:2": "DuplicateId",
        "position:3": "InvalidRecord",
    }
    assert "data.jsonl line 2, column 20: not JSON" in found["position:1"]["message"]
    assert 'data.jsonl line 3: the id "a" is taken' in found["position:2"]["message"]
    assert 'data.jsonl line 4: no field "id"' in found["position:3"]["message"]
    assert found["position:1"]["message"] in ended.said
    assert model.calls == 2


def test_bad_lines_of_csv(model: Server, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text('id,text\na,A.\nb,B.,too much\nc,C.\nd,"never closed\n')
    ended = run(tmp_path, model.url, input={"uri": "file://data.csv", "idField": "id"})
    assert ended.code == PARTIAL
    assert [value for value in values(tmp_path) if value] == ["A.", "C."]
    messages = [error["message"] for error in failures(tmp_path).values()]
    assert "data.csv line 3: the row has 3 values, the header 2 fields" in messages[0]
    assert "data.csv line 5: a quote is opened and never closed" in messages[1]
    assert conserved(tmp_path / "out")["succeeded"] == model.calls == 2


def test_a_line_of_twenty_megabytes_fails_alone(model: Server, tmp_path: Path) -> None:
    jsonl(tmp_path / "data.jsonl", [{"text": "A."}, {"text": "word " * 4_000_000}, {"text": "C."}])
    ended = run(tmp_path, model.url, input={"uri": "file://data.jsonl"})
    assert ended.code == PARTIAL
    assert values(tmp_path) == ["A.", None, "C."]
    error = failures(tmp_path)["1"]
    assert error["reason"] == "TooLarge"
    assert "data.jsonl line 2" in error["message"]
    assert "split.maxTokens" in error["message"]


def test_a_template_bomb_fails_its_chunk(model: Server, tmp_path: Path) -> None:
    bomb = (
        "{% if item.index == 1 %}{% for i in range(99999) %}{% for j in range(99999) %}boom{% endfor %}{% endfor %}"
        "{% else %}{{ chunk.text }}{% endif %}"
    )
    ended = run(tmp_path, model.url, map=asks(chat={"prompt": bomb}))
    assert ended.code == PARTIAL
    assert values(tmp_path) == [TEXTS[0], None, TEXTS[2]]
    error = failures(tmp_path)["1"]
    assert error["reason"] in ("TooLarge", "TooSlow")
    assert 'branch "answer": prompt' in error["message"]


def test_a_missing_column_fails_its_item(model: Server, tmp_path: Path) -> None:
    items = [{"text": "A.", "tone": "warm"}, {"text": "B."}]
    ended = run(
        tmp_path,
        model.url,
        input={"items": items},
        map=asks(chat={"prompt": "{{ item.fields.tone }}: {{ chunk.text }}"}),
    )
    assert ended.code == PARTIAL
    error = failures(tmp_path)["1"]
    assert error["reason"] == "TemplateFailed"
    assert 'no field "tone"' in error["message"]
    assert 'default("")' in error["message"]


# The output folder


def test_a_folder_that_cannot_be_written(model: Server, tmp_path: Path) -> None:
    manifest(tmp_path / "job.yaml", endpoint(model.url), job(input={"items": TEXTS}))
    for folder in ("job.yaml", "job.yaml/out"):
        ended = fanout("run", "job.yaml", "-o", folder, cwd=tmp_path)
        refused(ended, model, tmp_path, f"cannot write to {folder}", "choose another folder")


def test_a_ledger_that_is_none(model: Server, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/ledger.db").write_text("These are somebody's notes, not a ledger.\n" * 100)
    ended = run(tmp_path, model.url)
    assert ended.code == FAILED
    assert "the ledger in out cannot be read or written: file is not a database: choose another folder" in ended.said
    assert "somebody's notes" in (tmp_path / "out/ledger.db").read_text()
    assert model.calls == 0


# The credential


@pytest.fixture(scope="module")
def locked() -> Iterator[Server]:
    """A server that wants a key."""
    with serving(environment={"FANOUT_SIMULATE_API_KEY": RIGHT_KEY}) as server:
        yield server


def secret_in(folder: Path, key: str, ended: Ended) -> list[str]:
    """Where the key can be read."""
    places = [str(path) for path in folder.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
    return places + [key for said in (ended.stdout, ended.stderr) if key in said]


def test_no_key(locked: Server, tmp_path: Path) -> None:
    locked.reset()
    ended = run(tmp_path, locked.url, provider=AUTH)
    refused(
        ended, locked, tmp_path, "spec.auth.secretRef", "PROVIDER_API_KEY", "a Secret provider with the key api-key"
    )


def test_a_wrong_key(locked: Server, tmp_path: Path) -> None:
    ended = run(tmp_path, locked.url, provider=AUTH, environment={"PROVIDER_API_KEY": WRONG_KEY})
    assert ended.code == FAILED
    assert reasons(tmp_path) == {"Unauthorized": 3}
    assert "HTTP 401" in ended.said
    assert "check the credential that auth.secretRef names" in ended.said
    assert secret_in(tmp_path, WRONG_KEY, ended) == []
    # With the right one only what failed is asked again.
    ended = run(tmp_path, locked.url, "--retry-failed", provider=AUTH, environment={"PROVIDER_API_KEY": RIGHT_KEY})
    assert ended.code == COMPLETE
    assert values(tmp_path) == TEXTS
    assert secret_in(tmp_path, RIGHT_KEY, ended) == []


def test_a_key_in_a_secret_beside_the_job(locked: Server, tmp_path: Path) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "provider"},
        "stringData": {"api-key": RIGHT_KEY},
    }
    manifest(tmp_path / "secret.yaml", secret)
    ended = run(tmp_path, locked.url, "secret.yaml", provider=AUTH)
    assert ended.code == COMPLETE
    assert secret_in(tmp_path / "out", RIGHT_KEY, ended) == []


# The server


def test_nothing_listens(tmp_path: Path) -> None:
    ended = run(tmp_path, "http://127.0.0.1:9/v1", map=asks())
    assert ended.code == FAILED
    assert reasons(tmp_path) == {"ConnectionFailed": 3}
    assert "cannot connect to http://127.0.0.1:9/v1/chat/completions: connection refused" in ended.said
    assert "check the endpoint's url and whether the server runs" in ended.said
    assert report(tmp_path / "out")["calls"]["made"] == 0
    assert conserved(tmp_path / "out")["failed"] == 3


def test_a_wrong_path(model: Server, tmp_path: Path) -> None:
    ended = run(tmp_path, model.url + "/api", map=asks())
    assert ended.code == FAILED
    assert reasons(tmp_path) == {"NotFound": 3}
    assert "check the endpoint's url and model" in ended.said


def test_a_model_that_answers_garbage(tmp_path: Path) -> None:
    chat = {"prompt": "{{ chunk.text }}", "responseSchema": LABEL}
    with serving("--garbage-rate", "100") as server:
        ended = run(
            tmp_path, server.url, input={"items": [f"Text number {i}." for i in range(20)]}, map=asks(chat=chat)
        )
        # Some garbage can be mended without a guess (a fence around the JSON); the rest is asked again once.
        assert ended.code == PARTIAL
        assert set(reasons(tmp_path)) == {"BadOutput"}
        results = lines(tmp_path / "out/results.jsonl")
        assert all(isinstance(line["value"]["label"], str) for line in results if line["status"] == "Succeeded")
        assert {line["attempts"] for line in results if line["status"] == "Failed"} == {2}
        assert 20 < server.calls <= 40

        plain = tmp_path / "plain"
        plain.mkdir()
        ended = run(plain, server.url, map=asks())
        assert ended.code == FAILED
        assert reasons(plain) == {"ServerError": 3}
        assert "the response is not JSON" in ended.said


def test_a_model_that_answers_nothing(tmp_path: Path) -> None:
    with serving("--empty-rate", "100") as server:
        ended = run(tmp_path, server.url, map=asks())
    assert ended.code == FAILED
    assert reasons(tmp_path) == {"BadOutput": 3}
    assert "the answer is empty" in ended.said
    assert conserved(tmp_path / "out")["failed"] == 3


def test_a_server_that_hangs(tmp_path: Path) -> None:
    with serving("--hang-rate", "100") as server:
        ended = run(tmp_path, server.url, map=asks(timeoutSeconds=1, retry={"limit": 0}))
    assert ended.code == FAILED
    assert reasons(tmp_path) == {"Timeout": 3}
    assert "did not answer within 1 s: raise timeoutSeconds" in ended.said
    assert report(tmp_path / "out")["usage"]["estimatedTokens"] > 0


def test_a_storm_of_429_uses_up_nothing(tmp_path: Path) -> None:
    items = [f"Text number {i}." for i in range(30)]
    with serving("--concurrency", "2", "--latency", "20ms") as server:
        ended = run(tmp_path, server.url, input={"items": items}, map=asks(retry={"limit": 0}))
        refusals = server.stats()["byStatus"]["429"]
    assert ended.code == COMPLETE, ended.stderr
    assert values(tmp_path) == items
    assert {line["attempts"] for line in lines(tmp_path / "out/results.jsonl")} == {1}
    calls = report(tmp_path / "out")["calls"]
    assert calls["rateLimited"] == refusals > 0
    assert calls["retried"] == 0
