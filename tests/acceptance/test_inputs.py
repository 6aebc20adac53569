"""Every source, format, split and combination that a manifest can ask for, through the command line."""

from __future__ import annotations

import csv
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from command import COMPLETE, Server, conserved, endpoint, fanout, job, jsonl, lines, manifest, report, serving

RECORDS = [
    {"id": "first", "text": "A plain text.", "tone": "warm"},
    {"id": "second", "text": "A text with\na line break, a comma.", "tone": "cold"},
    {"id": "third", "text": 'A "quoted" text.', "tone": "ümläut ✓"},
]
PROMPT = "{{ item.id }} {{ item.fields.tone }} {{ chunk.text }}"


def asks(prompt: str = "{{ chunk.text }}", **branch: Any) -> dict[str, Any]:
    return {"branches": [{"name": "answer", "endpoints": ["local"], "chat": {"prompt": prompt}} | branch]}


def run(folder: Path, model: Server, *, environment: dict[str, str] | None = None, **spec: Any) -> list[dict[str, Any]]:
    """The results of a job with this spec."""
    manifest(folder / "job.yaml", endpoint(model.url), job(**{"map": asks()} | spec))
    ended = fanout("run", "job.yaml", "-o", "out", cwd=folder, environment=environment)
    assert ended.code == COMPLETE, ended.stderr
    results = lines(folder / "out/results.jsonl")
    assert conserved(folder / "out")["succeeded"] == len(results)
    return results


def said(records: list[dict[str, str]]) -> list[str]:
    """What the model answers to PROMPT: it repeats short texts, in one line."""
    return [" ".join(f"{r['id']} {r['tone']} {r['text']}".split()) for r in records]


# Sources and formats


def as_jsonl(path: Path) -> None:
    jsonl(path, RECORDS)


def as_json(path: Path) -> None:
    path.write_text(json.dumps(RECORDS, indent=2))


def as_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["tone", "id", "text"])
        writer.writeheader()
        writer.writerows(RECORDS)


@pytest.mark.parametrize(
    ("name", "write"),
    [("data.jsonl", as_jsonl), ("data.json", as_json), ("data.csv", as_csv)],
    ids=["JSONL", "JSON", "CSV"],
)
def test_records(name: str, write: Any, model: Server, tmp_path: Path) -> None:
    write(tmp_path / name)
    results = run(tmp_path, model, input={"uri": f"file://{name}", "idField": "id"}, map=asks(PROMPT))
    assert [line["item"] for line in results] == ["first", "second", "third"]
    assert [line["value"] for line in results] == said(RECORDS)


def test_several_text_files(model: Server, tmp_path: Path) -> None:
    for folder, name in (("b", "1.txt"), ("a", "2.txt"), ("a", "1.txt")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(f"Document {folder}{name[0]}.\n")
    results = run(tmp_path, model, input={"uri": "file://*/?.txt"}, map=asks("{{ item.name }}: {{ chunk.text }}"))
    assert [line["value"] for line in results] == [
        "a/1.txt: Document a1.",
        "a/2.txt: Document a2.",
        "b/1.txt: Document b1.",
    ]
    assert [line["item"] for line in results] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        ({"items": ["Alone.", {"text": "In fields.", "id": "x"}]}, ["0", "1"]),
        (
            {"items": [{"name": "n1", "text": "Alone."}, {"name": "n2", "text": "In fields."}], "idField": "name"},
            ["n1", "n2"],
        ),
    ],
    ids=["by position", "by idField"],
)
def test_inline_items(given: dict[str, Any], ids: list[str], model: Server, tmp_path: Path) -> None:
    results = run(tmp_path, model, input=given)
    assert [(line["item"], line["value"]) for line in results] == list(zip(ids, ["Alone.", "In fields."], strict=True))


@contextmanager
def https(body: bytes, certificates: trustme.CA) -> Iterator[str]:
    """A server that gives `body` for any path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_file_behind_https(model: Server, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    trust = {"SSL_CERT_FILE": str(tmp_path / "authority.pem")}
    body = "".join(json.dumps(record) + "\n" for record in RECORDS).encode()
    with https(body, authority) as url:
        where = {"uri": f"{url}/deep/data.jsonl?signature=secret", "idField": "id"}
        results = run(tmp_path, model, environment=trust, input=where, map=asks(PROMPT))
        assert [line["value"] for line in results] == said(RECORDS)

        # Without trust it is told what to set; a signature is not shown.
        manifest(tmp_path / "job.yaml", endpoint(model.url), job(input=where))
        ended = fanout("run", "job.yaml", "-o", "untrusted", cwd=tmp_path)
    assert ended.code == 1
    assert "certificate is not trusted" in ended.said
    assert "SSL_CERT_FILE" in ended.said
    assert "signature" not in ended.said


def test_a_batch_file(model: Server, tmp_path: Path) -> None:
    chat = {"model": "own", "messages": [{"role": "user", "content": "Say so."}]}
    vector = {"model": "own", "input": "Say so."}
    records = [("/v1/chat/completions", chat), ("/v1/embeddings", vector)]
    jsonl(
        tmp_path / "batch.jsonl",
        [{"custom_id": f"r{i}", "method": "POST", "url": url, "body": body} for i, (url, body) in enumerate(records)],
    )
    branch = {"name": "request", "endpoints": ["local"], "passthrough": {"model": "Keep"}}
    spec: dict[str, Any] = {"map": {"branches": [branch]}, "output": {"format": "OpenAIBatch"}}
    run(tmp_path, model, input={"uri": "file://batch.jsonl", "format": "OpenAIBatch"}, **spec)
    first, second = lines(tmp_path / "out/output.jsonl")
    assert first["custom_id"] == "r0"
    assert first["response"]["body"]["choices"][0]["message"]["content"] == "Say so."
    assert first["response"]["body"]["model"] == "own"
    assert second["custom_id"] == "r1"
    assert len(second["response"]["body"]["data"][0]["embedding"]) == 64


# Splits

DOCUMENT = """\
Preamble of the document.

Article 1
One sentence stands here, and nothing else but this.

Article 2
The last article has two paragraphs.

This is its second paragraph.
"""


def split(folder: Path, model: Server, **how: Any) -> list[dict[str, Any]]:
    (folder / "document.txt").write_text(DOCUMENT)
    results = run(folder, model, input={"uri": "file://document.txt"}, split=how)
    assert [line["chunk"] for line in results] == list(range(len(results)))
    # Nothing is lost, nothing is there twice.
    assert " ".join(line["value"] for line in results).split() == DOCUMENT.split()
    return results


def test_split_by_paragraph(model: Server, tmp_path: Path) -> None:
    results = split(tmp_path, model, by="Paragraph")
    assert len(results) == 4
    assert results[3]["value"] == "This is its second paragraph."


def test_split_by_pattern(model: Server, tmp_path: Path) -> None:
    results = split(tmp_path, model, by="Pattern", pattern=r"^Article \d+")
    assert [line["title"] for line in results][1:] == ["Article 1", "Article 2"]
    assert results[2]["value"].startswith("Article 2 The last")


def test_split_by_tokens(model: Server, tmp_path: Path) -> None:
    results = split(tmp_path, model, by="Tokens", maxTokens=9)
    assert len(results) > 4


# Several answers to a chunk


def test_branches_and_samples_side_by_side(model: Server, tmp_path: Path) -> None:
    branches = [
        {"name": "plain", "endpoints": ["local"], "chat": {"prompt": "{{ chunk.text }}"}},
        {"name": "loud", "endpoints": ["local"], "samples": 3, "chat": {"prompt": "LOUD {{ chunk.text }}"}},
    ]
    results = run(tmp_path, model, input={"items": ["One.", "Two."]}, map={"branches": branches})
    assert [line["value"] for line in results] == [
        {"plain": "One.", "loud": ["LOUD One."] * 3},
        {"plain": "Two.", "loud": ["LOUD Two."] * 3},
    ]
    answers = [(answer["branch"], answer["sample"], answer["status"]) for answer in results[0]["answers"]]
    assert answers == [("plain", 0, "Succeeded"), *[("loud", sample, "Succeeded") for sample in range(3)]]
    assert model.calls == 8, "samples are calls of their own"


def test_the_first_answer_wins(model: Server, tmp_path: Path) -> None:
    with serving("--hang-rate", "100") as stuck:
        branches = [
            {"name": name, "endpoints": [where], "chat": {"prompt": f"{name}: {{{{ chunk.text }}}}"}}
            for name, where in (("stuck", "stuck"), ("quick", "local"))
        ]
        described = job(input={"items": ["One.", "Two."]}, map={"branches": branches}, combine={"by": "First"})
        manifest(tmp_path / "job.yaml", endpoint(model.url), endpoint(stuck.url, "stuck"), described)
        ended = fanout("run", "job.yaml", "-o", "out", cwd=tmp_path)
        assert ended.code == COMPLETE, ended.stderr
        assert [line["value"] for line in lines(tmp_path / "out/results.jsonl")] == ["quick: One.", "quick: Two."]
        # Those that lost are called back.
        assert stuck.stats()["inFlight"] == 0
    assert report(tmp_path / "out")["chunks"]["succeeded"] == 2


def test_failover(model: Server, tmp_path: Path) -> None:
    with serving("--error-rate", "100") as ill:
        branch = asks(endpoints=["ill", "local"])
        manifest(
            tmp_path / "job.yaml",
            *(endpoint(ill.url, "ill"), endpoint(model.url), job(input={"items": ["One."]}, map=branch)),
        )
        ended = fanout("run", "job.yaml", "-o", "out", cwd=tmp_path)
    assert ended.code == COMPLETE, ended.stderr
    (line,) = lines(tmp_path / "out/results.jsonl")
    assert (line["value"], line["endpoint"], line["attempts"]) == ("One.", "local", 2)
    assert report(tmp_path / "out")["calls"]["failedOver"] == 1


def test_identical_requests_share_a_call(model: Server, tmp_path: Path) -> None:
    results = run(tmp_path, model, input={"items": ["Same.", "Other.", "Same."]})
    assert [line["value"] for line in results] == ["Same.", "Other.", "Same."]
    assert model.calls == 2
    assert report(tmp_path / "out")["calls"]["deduplicated"] == 1


def test_one_text_by_a_template(model: Server, tmp_path: Path) -> None:
    template = "{{ chunk.index + 1 }}/{{ chunk.count }} {{ item.id }} {{ params.mark }} {{ value }}"
    step = {"concat": {"separator": "\n--\n", "template": template}}
    reduce: dict[str, Any] = {"steps": [step]}
    run(
        tmp_path,
        model,
        input={"items": ["One.\n\nTwo.", "Three."]},
        split={"by": "Paragraph"},
        reduce=reduce,
        params={"mark": "*"},
        output={"format": "Markdown"},
    )
    written = (tmp_path / "out/output.md").read_text()
    assert written.strip() == "1/2 0 * One.\n--\n2/2 0 * Two.\n--\n1/1 1 * Three."
