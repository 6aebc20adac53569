"""600 calls of 0.5 s at concurrency 60, over HTTP: how much longer than the ideal 5.0 s, and than bare asyncio + httpx."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import FANOUT, HERE, median, report, reset, run, simulated, stats, write_job, write_records

CALLS, SECONDS, CONCURRENCY, ROUNDS = 600, 0.5, 60, 3


def main() -> None:
    ideal = CALLS * SECONDS / CONCURRENCY
    ours: list[float] = []
    own: list[float] = []
    bare: list[float] = []
    with tempfile.TemporaryDirectory() as folder, simulated("--latency", str(SECONDS)) as url:
        here = Path(folder)
        write_records(here / "records.jsonl", CALLS)
        endpoint = {"url": url, "limits": {"concurrency": CONCURRENCY}}
        job = write_job(here, here / "records.jsonl", endpoint=endpoint)
        for number in range(ROUNDS):
            reset(url)
            run([FANOUT, "run", str(job), "-o", str(here / f"out{number}")])
            served = stats(url)
            assert served["maxInFlight"] <= CONCURRENCY
            ours.append(served["spanSeconds"])
            own.append(report(here / f"out{number}")["makespanSeconds"])
            reset(url)
            run([sys.executable, str(HERE / "bare.py"), url, str(here / "records.jsonl"), str(CONCURRENCY)])
            bare.append(stats(url)["spanSeconds"])
    print(
        f"makespan of {CALLS} calls of {SECONDS} s at concurrency {CONCURRENCY} (ideal {ideal:.2f} s), medians of {ROUNDS}"
    )
    print(f"  fanout run, as the server saw it   {median(ours):.2f} s   {median(ours) / ideal:.3f} of the ideal")
    print(f"  fanout run, makespanSeconds        {median(own):.2f} s   {median(own) / ideal:.3f} of the ideal")
    print(f"  bare asyncio + httpx (aiohttp)     {median(bare):.2f} s   {median(bare) / ideal:.3f} of the ideal")
    print(f"  fanout run / bare                  {median(ours) / median(bare):.3f}")


if __name__ == "__main__":
    main()
