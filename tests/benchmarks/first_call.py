"""Time from the start of `fanout run` to the first call that the server sees, for 1,000,000 records: planning streams."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import FANOUT, median, reset, simulated, stats, write_job, write_records

ROUNDS = 3


def first_call(url: str, job: Path, out: Path) -> float:
    """Seconds until the server has seen a call."""
    reset(url)
    started = time.monotonic()
    process = subprocess.Popen([FANOUT, "run", str(job), "-o", str(out)], stderr=subprocess.DEVNULL)
    try:
        while not stats(url)["inFlight"]:
            assert process.poll() is None, "fanout run ended before its first call"
            time.sleep(0.005)
        return time.monotonic() - started
    finally:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.wait(60)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, simulated("--latency", "30") as url:
        here = Path(folder)
        print("from the start of `fanout run` to its first call at the server")
        for count in (1000, 1_000_000):
            (here / str(count)).mkdir()
            records = here / str(count) / "records.jsonl"
            write_records(records, count)
            job = write_job(here / str(count), records, endpoint={"url": url, "limits": {"concurrency": 50}})
            times = [first_call(url, job, here / str(count) / f"out{number}") for number in range(ROUNDS)]
            print(f"  {count:9,} records   {median(times):.2f} s")
        started = time.monotonic()
        subprocess.run([sys.executable, "-c", "import fanout.cli.run"], check=True)
        print(f"  of which loading Python and the libraries: {time.monotonic() - started:.2f} s")


if __name__ == "__main__":
    main()
