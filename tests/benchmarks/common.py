"""What the benchmarks share: a simulated server, `fanout run` as a user runs it, and a bare asyncio client beside it.

Each figure comes from runs that take turns (ours, theirs, ours, …) on the same machine against the same server, as the server saw
them; medians are printed. The machines are shared and noisy: compare columns of one run, never two runs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FANOUT = str(Path(sys.executable).with_name("fanout"))


@contextmanager
def simulated(*options: str) -> Iterator[str]:
    """`fanout simulate` on a free port of loopback; the base URL, with /v1."""
    server = subprocess.Popen([FANOUT, "simulate", "--port", "0", *options], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        yield re.findall(r"http://\S+", server.stdout.readline())[0]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(10)
        server.stdout.close()


def stats(url: str) -> dict[str, Any]:
    """The server's own view."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as response:
        return dict(json.load(response))


def reset(url: str) -> None:
    """Start the server's counts again."""
    urllib.request.urlopen(
        urllib.request.Request(url.removesuffix("/v1") + "/stats/reset", method="POST"), timeout=10
    ).close()


def write_records(path: Path, count: int) -> None:
    """JSONL of distinct records of some 100 bytes."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            file.write(f'{{"id": "r{i}", "text": "record number {i}: the quick brown fox jumps over the lazy dog"}}\n')


def write_job(folder: Path, records: Path, *, endpoint: dict[str, Any], **branch: Any) -> Path:
    """A manifest of one endpoint and one job with one chat branch."""
    job = {
        "apiVersion": "fanout.dev/v1alpha1",
        "kind": "FanOutJob",
        "metadata": {"name": "bench"},
        "spec": {
            "input": {"uri": f"file://{records}", "idField": "id"},
            "map": {
                "branches": [{"name": "b", "endpoints": ["model"], "chat": {"prompt": "{{ chunk.text }}"}, **branch}]
            },
        },
    }
    model = {
        "apiVersion": "fanout.dev/v1alpha1",
        "kind": "ModelEndpoint",
        "metadata": {"name": "model"},
        "spec": {"model": "any", **endpoint},
    }
    path = folder / "job.yaml"
    path.write_text(json.dumps(model) + "\n---\n" + json.dumps(job) + "\n")
    return path


@dataclass
class Run:
    """A finished process."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    """Of the process itself; its children, the parser among them, apart."""
    peak_children_mib: float


def run(command: list[str], *, until: float | None = None) -> Run:
    """Run a command to its end, or interrupt it `until` seconds after its start."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peaks = {"own": 0.0, "children": 0.0}
    watching = threading.Thread(target=_watch, args=(process, peaks), daemon=True)
    watching.start()
    try:
        _, errors = process.communicate(timeout=until)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    watching.join()
    if process.returncode not in (0, 130):
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors}")
    usage = _cpu_of_children()
    return Run(time.monotonic() - started, usage, peaks["own"], peaks["children"])


_cpu_before = 0.0


def _cpu_of_children() -> float:
    """CPU seconds of the children that have ended since the last call."""
    global _cpu_before
    times = os.times()
    total = times.children_user + times.children_system
    spent, _cpu_before = total - _cpu_before, total
    return spent


def _watch(process: subprocess.Popen[str], peaks: dict[str, float]) -> None:
    """Follow the peak memory of a process and of its children (VmHWM only grows, so looking now and then is enough)."""
    while process.poll() is None:
        peaks["own"] = max(peaks["own"], _peak(process.pid))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            pids = children.read_text().split()
        except OSError:
            pids = []
        for pid in pids:
            peaks["children"] = max(peaks["children"], _peak(int(pid)))
        time.sleep(0.02)


def _peak(pid: int) -> float:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) / 1024 if found else 0.0


def median(values: list[float]) -> float:
    """Of the runs."""
    return statistics.median(values)


def report(folder: Path) -> dict[str, Any]:
    """report.json of a run."""
    return dict(json.loads((folder / "report.json").read_text()))
