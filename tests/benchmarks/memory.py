"""Peak memory for 10,000 and for 100,000 records: the engine's must not grow with their number. The parser is a process apart."""

from __future__ import annotations

import tempfile
from pathlib import Path

from common import FANOUT, Run, run, write_job, write_records

SMALL, LARGE = 10_000, 100_000


def measure(here: Path, count: int) -> Run:
    folder = here / str(count)
    folder.mkdir()
    write_records(folder / "records.jsonl", count)
    endpoint = {"api": "Simulated", "limits": {"concurrency": 100}}
    job = write_job(folder, folder / "records.jsonl", endpoint=endpoint)
    return run([FANOUT, "run", str(job), "-o", str(folder / "out")])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        small, large = measure(Path(folder), SMALL), measure(Path(folder), LARGE)
    print("peak memory of `fanout run`, model in process")
    for count, spent in ((SMALL, small), (LARGE, large)):
        print(
            f"  {count:7,} records   engine {spent.peak_mib:5.0f} MiB   parser {spent.peak_children_mib:5.0f} MiB   "
            f"{spent.seconds:5.1f} s in all"
        )
    print(f"  engine, {LARGE:,} against {SMALL:,}: {large.peak_mib / small.peak_mib:.2f}")


if __name__ == "__main__":
    main()
