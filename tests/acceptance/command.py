"""The command line as its users have it: a process, files around it, and a model server to call."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
FANOUT = Path(sys.executable).with_name("fanout")
BUDGET_SECONDS = 60
COMPLETE, FAILED, USAGE, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130
PROMPT: dict[str, Any] = {"name": "answer", "endpoints": ["local"], "chat": {"prompt": "{{ chunk.text }}"}}


@dataclass(frozen=True)
class Ended:
    """A command's end."""

    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        """Everything, in one line: where a message is broken does not matter."""
        return " ".join((self.stdout + " " + self.stderr).split())


def start(*words: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """`fanout WORDS…`, in a session of its own, so that what a signal does to it stays there."""
    return subprocess.Popen(
        [FANOUT, *words],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> Ended:
    """Wait for it. No user is ever to see a traceback."""
    try:
        stdout, stderr = process.communicate(timeout=BUDGET_SECONDS)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert "Traceback" not in stderr, stderr
    return Ended(process.returncode, stdout, stderr)


def fanout(*words: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> Ended:
    """`fanout WORDS…`, to its end."""
    return finish(start(*words, cwd=cwd, environment=environment))


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9, and no more than that: its children have to notice by themselves."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=BUDGET_SECONDS)


def until(found: Callable[[], T], what: str, seconds: float = 30) -> T:
    """What `found` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)
    return result


class Server:
    """A running `fanout simulate`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def stats(self) -> dict[str, Any]:
        """What it has served since the start or the last reset."""
        return self._own("GET", "/stats")

    def reset(self) -> None:
        """Count anew."""
        self._own("POST", "/stats/reset")

    @property
    def calls(self) -> int:
        """Requests that it got, those included whose client went away."""
        found = self.stats()
        return int(found["requests"]) + int(found["inFlight"])

    def _own(self, method: str, path: str) -> dict[str, Any]:
        request = urllib.request.Request(self.url.removesuffix("/v1") + path, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
        return answer


@contextmanager
def serving(*options: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """`fanout simulate OPTIONS…` on a free port."""
    process = subprocess.Popen(
        [FANOUT, "simulate", "--port", "0", *options],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # A server that does not come up must not hold the tests up.
    fuse = threading.Timer(BUDGET_SECONDS, process.kill)
    fuse.start()
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        fuse.cancel()
        found = re.search(r"http://\S+", said)
        assert found is not None, f"fanout simulate said {said!r}"
        yield Server(found[0])
    finally:
        fuse.cancel()
        process.terminate()
        process.communicate(timeout=BUDGET_SECONDS)


def endpoint(url: str, name: str = "local", **spec: Any) -> dict[str, Any]:
    """A ModelEndpoint."""
    spec = {"url": url, "model": "any", "limits": {"concurrency": 8}} | spec
    return {"apiVersion": "fanout.dev/v1alpha1", "kind": "ModelEndpoint", "metadata": {"name": name}, "spec": spec}


def job(name: str = "job", **spec: Any) -> dict[str, Any]:
    """A FanOutJob; without a map it asks each text of the endpoint "local"."""
    spec = {"map": {"branches": [PROMPT]}} | spec
    return {"apiVersion": "fanout.dev/v1alpha1", "kind": "FanOutJob", "metadata": {"name": name}, "spec": spec}


def manifest(path: Path, *resources: Mapping[str, Any]) -> Path:
    """A file with these resources (JSON is YAML)."""
    path.write_text("\n---\n".join(json.dumps(resource, indent=1) for resource in resources), encoding="utf-8")
    return path


def jsonl(path: Path, records: Sequence[Any]) -> Path:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    """What a JSON Lines file holds."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def report(out: Path) -> dict[str, Any]:
    """report.json."""
    found: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    return found


def condition(out: Path, kind: str) -> tuple[str, str]:
    """Status and reason of one condition in report.json."""
    (found,) = [c for c in report(out)["conditions"] if c["type"] == kind]
    return found["status"], found["reason"]


def conserved(out: Path) -> dict[str, int]:
    """The report's chunk counts, after checking that they and the results agree."""
    chunks: dict[str, int] = report(out)["chunks"]
    results = lines(out / "results.jsonl")
    assert chunks["planned"] == chunks["succeeded"] + chunks["failed"] + chunks["skipped"] == len(results)
    assert len({(line["item"], line["chunk"]) for line in results}) == len(results)
    by_status = {word: sum(line["status"] == word for line in results) for word in ("Succeeded", "Failed", "Skipped")}
    assert by_status == {word: chunks[word.lower()] for word in by_status}
    failures = [(line["item"], line["chunk"]) for line in lines(out / "failures.jsonl")]
    assert failures == [(line["item"], line["chunk"]) for line in results if line["status"] == "Failed"]
    return chunks
