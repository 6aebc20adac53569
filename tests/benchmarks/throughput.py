"""Zero-latency tasks per second: what Fanout itself costs. Over HTTP beside bare asyncio + httpx, and with the model in process."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from common import FANOUT, HERE, median, report, reset, run, simulated, stats, write_job, write_records

TASKS, CONCURRENCY, ROUNDS = 5000, 100, 3


def main() -> None:
    http: list[float] = []
    http_cpu: list[float] = []
    process: list[float] = []
    process_cpu: list[float] = []
    bare: list[float] = []
    bare_cpu: list[float] = []
    with tempfile.TemporaryDirectory() as folder, simulated() as url:
        here = Path(folder)
        (here / "http").mkdir()
        (here / "process").mkdir()
        records = here / "records.jsonl"
        write_records(records, TASKS)
        limits = {"limits": {"concurrency": CONCURRENCY}}
        over_http = write_job(here / "http", records, endpoint={"url": url, **limits})
        in_process = write_job(here / "process", records, endpoint={"api": "Simulated", **limits})
        for number in range(ROUNDS):
            reset(url)
            spent = run([FANOUT, "run", str(over_http), "-o", str(here / f"http{number}")])
            http.append(TASKS / stats(url)["spanSeconds"])
            http_cpu.append(spent.cpu_seconds / TASKS * 1000)
            spent = run([FANOUT, "run", str(in_process), "-o", str(here / f"process{number}")])
            process.append(TASKS / report(here / f"process{number}")["makespanSeconds"])
            process_cpu.append(spent.cpu_seconds / TASKS * 1000)
            reset(url)
            spent = run([sys.executable, str(HERE / "bare.py"), url, str(records), str(CONCURRENCY)])
            bare.append(TASKS / stats(url)["spanSeconds"])
            bare_cpu.append(spent.cpu_seconds / TASKS * 1000)
    print(
        f"zero-latency tasks, {TASKS} at concurrency {CONCURRENCY}, medians of {ROUNDS} (CPU: the whole process, start included)"
    )
    print(f"  fanout run over HTTP               {median(http):6.0f}/s   {median(http_cpu):.2f} ms CPU a task")
    print(f"  fanout run, model in process       {median(process):6.0f}/s   {median(process_cpu):.2f} ms CPU a task")
    print(f"  bare asyncio + httpx (aiohttp)     {median(bare):6.0f}/s   {median(bare_cpu):.2f} ms CPU a task")


if __name__ == "__main__":
    main()
