"""What the job must have given. Called by tests/acceptance/test_examples.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOPICS = {"Web", "Data", "Databases", "Testing", "Packaging", "Text", "Developer tools", "Other"}
ITEMS_PER_CALL = 8


def check(example: Path, out: Path, results: list[dict[str, Any]], report: dict[str, Any]) -> None:
    with (example / "input/distributions.jsonl").open(encoding="utf-8") as file:
        names = [json.loads(line)["name"] for line in file]
    assert [line["item"] for line in results] == names
    assert {line["value"]["topic"] for line in results} <= TOPICS

    tally = json.loads((out / "output.json").read_text(encoding="utf-8"))
    assert sum(tally["counts"].values()) == tally["total"] == len(names)
    assert abs(sum(tally["shares"].values()) - 1) < 0.001

    assert report["calls"]["made"] == -(-len(names) // ITEMS_PER_CALL)
