"""The jobs of ../shared/contract run as they are, and give what its README says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from command import COMPLETE, Server, conserved, fanout, lines, report

CONTRACT = Path(__file__).parents[3] / "shared" / "contract"
LICENCE = CONTRACT / "data/gpl-3.txt"

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not CONTRACT.is_dir(), reason="there is no ../shared/contract beside this checkout"),
]


def run(name: str, model: Server, folder: Path) -> Path:
    """The job's output folder, after `fanout run` as the contract has it, but for the server's port."""
    out = folder / "out"
    ended = fanout(
        "run",
        *(CONTRACT / "endpoint.yaml", CONTRACT / f"{name}.yaml", "-o", out),
        *("--set", f"ModelEndpoint/local:url={model.url}"),
        cwd=folder,
    )
    assert ended.code == COMPLETE, ended.stderr
    assert report(out)["state"] == "Complete"
    assert report(out)["calls"]["made"] == model.calls
    return out


def packages() -> list[str]:
    return [record["id"] for record in lines(CONTRACT / "data/packages.jsonl")]


def test_classify(model: Server, tmp_path: Path) -> None:
    out = run("classify", model, tmp_path)
    results = lines(out / "results.jsonl")
    assert [line["item"] for line in results] == packages()
    assert len(results) == 1000
    assert all(line["chunk"] == 0 and line["status"] == "Succeeded" for line in results)
    assert all(isinstance(line["value"]["label"], str) for line in results)
    assert conserved(out)["succeeded"] == 1000
    assert 110 <= model.calls <= 130

    output = json.loads((out / "output.json").read_text())
    counts: dict[str, int] = {}
    for line in results:
        counts[line["value"]["label"]] = counts.get(line["value"]["label"], 0) + 1
    assert output["counts"] == counts
    assert sum(output["counts"].values()) == 1000
    assert output["shares"] == pytest.approx({label: count / 1000 for label, count in counts.items()})


def test_license(model: Server, tmp_path: Path) -> None:
    out = run("license", model, tmp_path)
    results = lines(out / "results.jsonl")
    assert [line["chunk"] for line in results] == list(range(19))
    headings = [line.strip() for line in LICENCE.read_text().splitlines() if re.match(r"  \d+\. ", line)]
    assert [line["title"] for line in results[1:]] == headings
    assert [int(title.split(".")[0]) for title in headings] == list(range(18))
    assert "GNU GENERAL PUBLIC LICENSE" in results[0]["title"]
    assert all(line["value"] for line in results)
    # 19 sections, then a tree of at most five parts a call: 19 → 4 → 1.
    assert model.calls == 19 + 4 + 1
    assert len((out / "output.md").read_text().strip()) > 100


def test_embed(model: Server, tmp_path: Path) -> None:
    out = run("embed", model, tmp_path)
    table = pq.read_table(out / "output.parquet")
    assert table.column_names == ["id", "vector"]
    assert table.column("id").to_pylist() == packages()
    vectors = table.column("vector").to_pylist()
    assert len(vectors) == 1000
    assert {len(vector) for vector in vectors} == {64}
    assert len({tuple(vector) for vector in vectors}) > 900, "each text has a vector of its own"
    assert [line["item"] for line in lines(out / "results.jsonl")] == packages()
    assert model.calls == 16


def test_batch(model: Server, tmp_path: Path) -> None:
    out = run("batch", model, tmp_path)
    requests = lines(CONTRACT / "data/batch.jsonl")
    output = lines(out / "output.jsonl")
    assert len(output) == 20
    assert [line["custom_id"] for line in output] == [
        request["custom_id"] for request in requests if request["custom_id"] != "request-bad"
    ]
    for line in output:
        assert set(line) == {"id", "custom_id", "response", "error"}
        assert set(line["response"]) == {"status_code", "request_id", "body"}
        assert line["response"]["status_code"] == 200
        assert line["response"]["request_id"]
        assert line["response"]["body"]["choices"][0]["message"]["content"]
        assert line["error"] is None
    assert len({line["id"] for line in output}) == 20

    (failure,) = lines(out / "failures.jsonl")
    assert failure["item"] == "request-bad"
    assert failure["error"]["httpStatus"] == 400
    assert "messages" in failure["error"]["message"]
    (error,) = lines(out / "errors.jsonl")
    assert error["custom_id"] == "request-bad"
    assert error["response"]["status_code"] == 400
    assert "messages" in error["response"]["body"]["error"]["message"]
    assert conserved(out) == {"planned": 21, "succeeded": 20, "failed": 1, "skipped": 0, "inFlight": 0}
    assert model.calls == 21
