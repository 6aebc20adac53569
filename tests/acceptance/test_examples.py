"""Every example runs as its README says, on the simulated model, and gives what its expect.py expects."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/job.yaml"))
ENDPOINTS = sorted(path.name for path in (EXAMPLES / "endpoints").glob("*.yaml"))
FANOUT = Path(sys.executable).with_name("fanout")
BUDGET_SECONDS = 90


def fanout(
    *words: str | Path, cwd: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FANOUT, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=BUDGET_SECONDS, check=False
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a copy of examples/ in it: preparing one writes beside its manifest."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("input", "__pycache__"))
    return tmp_path


def test_there_are_examples() -> None:
    assert len(NAMES) >= 5
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == {*NAMES, "endpoints"}


@pytest.mark.parametrize("name", NAMES)
def test_an_example_gives_what_it_promises(name: str, root: Path) -> None:
    example, out = root / "examples" / name, root / "build" / name
    commands = commands_of(example)
    prepares = [command for command in commands if command[0] == "python"]
    assert bool(prepares) == (example / "prepare.py").exists()
    for _, script in prepares:
        subprocess.run([sys.executable, script], cwd=root, check=True, timeout=BUDGET_SECONDS)

    (run,) = [command for command in commands if command[:2] == ["fanout", "run"]]
    ended = fanout(*run[1:], cwd=root)
    assert ended.returncode == 0, ended.stderr
    with (out / "results.jsonl").open(encoding="utf-8") as file:
        results = [json.loads(line) for line in file]
    report = report_in(out)
    runpy.run_path(str(example / "expect.py"))["check"](example, out, results, report)
    assert report["state"] == "Complete"
    assert report["chunks"]["planned"] == len(results)

    again = fanout(*run[1:], cwd=root)
    assert again.returncode == 0, again.stderr
    assert report_in(out)["calls"] == report["calls"], "a finished job was run again"


def report_in(out: Path) -> dict[str, Any]:
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


def commands_of(example: Path) -> list[list[str]]:
    """The commands of its README, in their order: the indented lines that begin with a program's name."""
    text = (example / "README.md").read_text()
    return [line.split() for line in re.findall(r"^    ((?:python|fanout) .+)$", text, re.MULTILINE)]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("name", NAMES)
def test_each_endpoint_file_goes_with_each_example(name: str, endpoint: str, root: Path) -> None:
    ended = fanout("validate", f"examples/endpoints/{endpoint}", f"examples/{name}/job.yaml", cwd=root)
    assert ended.returncode == 0, ended.stderr


def test_a_provider_without_its_key_is_told_which_variable_to_set(root: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    words = ("run", "examples/endpoints/openai.yaml", "examples/two-prompts/job.yaml", "-o", "build/out")
    ended = fanout(*words, cwd=root, environment=environment)
    assert ended.returncode == 2
    assert "OPENAI_API_KEY" in ended.stderr
    assert not (root / "build/out/results.jsonl").exists()
