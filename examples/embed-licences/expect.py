"""What the job must have given. Called by tests/acceptance/test_examples.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ITEMS_PER_CALL = 16


def check(example: Path, out: Path, results: list[dict[str, Any]], report: dict[str, Any]) -> None:
    files = len(list((example / "input").glob("*.txt")))
    assert len({line["item"] for line in results}) == files
    assert len(results) > files, "nothing was split"

    table = pq.read_table(out / "output.parquet")
    assert table.column("id").to_pylist() == [line["item"] for line in results]
    assert table.column("chunk").to_pylist() == [line["chunk"] for line in results]
    vectors = table.column("vector").to_pylist()
    assert len({len(vector) for vector in vectors}) == 1
    assert all(any(vector) for vector in vectors)

    assert report["calls"]["made"] == -(-(len(results) - report["calls"]["deduplicated"]) // ITEMS_PER_CALL)
