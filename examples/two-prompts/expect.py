"""What the job must have given. Called by tests/acceptance/test_examples.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

QUESTIONS = ["sky", "quorum", "queue"]
SAMPLES = 3


def check(_example: Path, out: Path, results: list[dict[str, Any]], report: dict[str, Any]) -> None:
    with (out / "output.jsonl").open(encoding="utf-8") as file:
        collected = [json.loads(line) for line in file]
    assert [line["item"] for line in collected] == QUESTIONS
    for line in collected:
        assert set(line["value"]) == {"plain", "for-reader"}
        assert isinstance(line["value"]["plain"], str)
        assert len(line["value"]["for-reader"]) == SAMPLES
    assert [len(line["answers"]) for line in results] == [1 + SAMPLES] * len(QUESTIONS)

    # Samples are not the same request: each is a call of its own.
    assert report["calls"]["made"] == len(QUESTIONS) * (1 + SAMPLES)
