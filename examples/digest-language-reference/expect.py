"""What the job must have given. Called by tests/acceptance/test_examples.py."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

PARTS_PER_CALL = 12


def check(_example: Path, out: Path, results: list[dict[str, Any]], report: dict[str, Any]) -> None:
    # Each topic is a section or, where it is long, several in a row with the same title.
    titles = list(dict.fromkeys(line["title"] for line in results))
    assert titles == [f"# {name}" for name in sorted(topics)]
    assert [line["chunk"] for line in results] == list(range(len(results)))
    assert all(line["status"] == "Succeeded" and line["value"] for line in results)

    calls = width = len(results)
    while width > 1:
        width = -(-width // PARTS_PER_CALL)
        calls += width
    assert report["calls"]["made"] + report["calls"]["deduplicated"] == calls

    assert (out / "output.md").read_text(encoding="utf-8").strip()
