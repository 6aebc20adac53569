"""At a terminal: live progress, Ctrl-C once and twice. Elsewhere: plain lines, SIGTERM."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pexpect
import pytest
from command import (
    COMPLETE,
    FANOUT,
    INTERRUPTED,
    Server,
    conserved,
    endpoint,
    fanout,
    finish,
    job,
    lines,
    manifest,
    report,
    serving,
    start,
    until,
)

COLUMNS = 80
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PRICES = {"pricing": {"inputPerMillionTokens": "1.00", "outputPerMillionTokens": "2.00"}}

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # pexpect forks, the tests have threads


def texts(count: int) -> list[str]:
    return [f"Text number {i}." for i in range(count)]


def write(folder: Path, server: Server, count: int) -> None:
    described = job("interrupted", input={"items": texts(count)})
    manifest(folder / "job.yaml", endpoint(server.url, **PRICES), described)


def at_a_terminal(folder: Path) -> pexpect.spawn:
    """`fanout run` as a user sees it, 80 columns wide."""
    environment = {**os.environ, "TERM": "xterm-256color"}
    return pexpect.spawn(
        *(str(FANOUT), ["run", "job.yaml", "-o", "out"]),
        cwd=str(folder),
        env=environment,
        dimensions=(24, COLUMNS),
        encoding="utf-8",
        timeout=30,
    )


def exit_code(terminal: pexpect.spawn) -> int | None:
    """Its exit code, at its end."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    return terminal.exitstatus


def test_ctrl_c_waits_for_what_is_paid_for(tmp_path: Path) -> None:
    with serving("--latency", "300ms") as server:
        write(tmp_path, server, 60)
        run = at_a_terminal(tmp_path)
        # Each part of a block, in its order on the screen.
        for part in ("interrupted", "Running", r"\d+ %", r"[1-9]\d* of 60 done", r"rate \d+\.\d/s", r"p50/p99 0\.3\d/"):
            run.expect(part)
        for part in (r"ETA \d+ s", r"tokens \d+ in \d+ out", r"cost 0\.0\d+ USD", "limited by Concurrency"):
            run.expect(part)
        run.sendcontrol("c")
        run.expect("stopping: waiting")
        shown = run.before
        run.expect("interrupted: .*Interrupted")
        run.expect("run the same command again to go on")
        assert exit_code(run) == INTERRUPTED
        assert max(len(line) for line in ESCAPES.sub("", shown).splitlines()) <= COLUMNS - 3

        out = tmp_path / "out"
        so_far = [line for line in lines(out / "results.jsonl") if line["status"] == "Succeeded"]
        assert 0 < len(so_far) < 60
        assert len(so_far) == server.calls
        assert report(out)["chunks"]["succeeded"] == len(so_far)
        assert report(out)["state"] == "Running"

        ended = fanout("run", "job.yaml", "-o", "out", cwd=tmp_path)
        assert ended.code == COMPLETE
        assert [line["value"] for line in lines(out / "results.jsonl")] == texts(60)
        assert conserved(out)["succeeded"] == 60
        assert server.calls == 60, "no call was made twice"


def test_ctrl_c_twice_does_not_wait(tmp_path: Path) -> None:
    with serving("--latency", "60s") as server:
        write(tmp_path, server, 10)
        run = at_a_terminal(tmp_path)
        until(lambda: server.calls > 0, "the first call")
        run.sendcontrol("c")
        run.expect("stopping: waiting")
        time.sleep(0.3)  # nobody presses keys faster
        began = time.monotonic()
        run.sendcontrol("c")
        run.expect("stopping at once")
        assert exit_code(run) == INTERRUPTED
        assert time.monotonic() - began < 8, "it waited, though it was told not to"
        assert server.stats()["inFlight"] == 0


def test_plain_lines_elsewhere(tmp_path: Path) -> None:
    with serving("--latency", "1800ms") as server:
        write(tmp_path, server, 26)
        ended = fanout("run", "job.yaml", "-o", "out", cwd=tmp_path)
    assert ended.code == COMPLETE
    assert "\x1b" not in ended.stderr
    (line, *_) = [line for line in ended.stderr.splitlines() if line.startswith("interrupted: Running")]
    for part in (
        r"\d+ of 26 done",
        r"rate \d",
        r"p50/p99 1\.8",
        "ETA",
        r"tokens \d+ in \d+ out",
        r"cost \d.*USD",
        "limited by Concurrency",
    ):
        assert re.search(part, line), (part, line)
    assert ended.stdout == ""


def test_sigterm_is_as_good(tmp_path: Path) -> None:
    with serving("--latency", "300ms") as server:
        write(tmp_path, server, 60)
        process = start("run", "job.yaml", "-o", "out", cwd=tmp_path)
        until(lambda: server.calls > 10, "some calls")
        # Twice at once, as timeout(1) does it, is once.
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        ended = finish(process)
        assert ended.code == INTERRUPTED
        assert report(tmp_path / "out")["chunks"]["succeeded"] == server.calls
        assert server.stats()["cancelled"] == 0
