"""What the job must have given. Called by tests/acceptance/test_examples.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def check(example: Path, out: Path, results: list[dict[str, Any]], _report: dict[str, Any]) -> None:
    requests = [line["custom_id"] for line in read(example / "batch.jsonl")]
    assert [line["item"] for line in results] == requests

    output = {line["custom_id"]: line for line in read(out / "output.jsonl")}
    assert list(output) == [name for name in requests if name != "too-hot"]
    for line in output.values():
        assert set(line) == {"id", "custom_id", "response", "error"}
        assert line["response"]["status_code"] == 200
        assert line["error"] is None
    assert "name" in json.loads(output["structured"]["response"]["body"]["choices"][0]["message"]["content"])
    assert output["vector"]["response"]["body"]["data"][0]["embedding"]

    (refused,) = read(out / "errors.jsonl")
    assert refused["custom_id"] == "too-hot"
    assert refused["response"]["status_code"] == 400


def read(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
