"""`make demo`: two real jobs on a simulated model, what they made, the figures, and how to use a model of one's own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

OUT = Path("build/demo")
ENDPOINT = Path("examples/endpoints/simulated.yaml")
TITLES = {"digest": "Digest of a long document", "classify": "Bulk classification"}
JOBS = {"digest": Path("examples/digest-language-reference"), "classify": Path("examples/classify-distributions")}

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    shutil.rmtree(OUT, ignore_errors=True)
    for name, example in JOBS.items():
        run(name, example)
    console.rule("What they made", align="left")
    show_digest(JOBS["digest"].name, OUT / "digest/output.md")
    show_tally(OUT / "classify/output.json")
    console.rule("Figures, from each report.json", align="left")
    console.print(figures({name: json.loads((OUT / name / "report.json").read_text()) for name in JOBS}))
    console.rule("Your own model", align="left")
    console.print(own_model())


def run(name: str, example: Path) -> None:
    """Run one example; its live progress is the command's own."""
    console.rule(TITLES[name], align="left")
    step(sys.executable, example / "prepare.py")
    code = step(Path(sys.executable).with_name("fanout"), "run", ENDPOINT, example / "job.yaml", "-o", OUT / name)
    if code:
        sys.exit(
            f"error: the job ended with code {code}: the reason stands above; what there is of it is in {OUT / name}"
        )


def step(program: str | Path, *words: str | Path) -> int:
    console.print(f"$ {Path(program).name} {' '.join(map(str, words))}", style="bold", markup=False)
    return subprocess.run([program, *words], check=False).returncode


def show_digest(name: str, path: Path) -> None:
    with (path.parent / "results.jsonl").open(encoding="utf-8") as file:
        results = [json.loads(line) for line in file]
    console.print(f"[bold]{path.parent / 'results.jsonl'}[/bold]: {len(results)} parts of {name}; the first")
    for line in results[:2]:
        console.print(f"  {line['title']}: {cut(line['value'], 200)}", markup=False)
    console.print(f"[bold]{path}[/bold]: one text from all of them; it begins")
    console.print(f"  {cut(path.read_text(encoding='utf-8').strip(), 700)}", markup=False)
    console.print("  (a simulated model quotes a few words of what it is given; a real one writes)", style="dim")
    console.print()


def cut(text: str, characters: int) -> str:
    return text if len(text) <= characters else text[:characters] + " …"


def show_tally(path: Path) -> None:
    tally = json.loads(path.read_text(encoding="utf-8"))
    console.print(f"[bold]{path}[/bold]: {tally['total']} distributions by topic")
    for label, count in tally["counts"].items():
        console.print(f"  {label:<16} {count:>4}  {tally['shares'][label]:>4.0%}  {'▇' * count}", markup=False)
    console.print("  (a simulated model chooses without knowing better; a real one reads)", style="dim")
    console.print()


def figures(reports: dict[str, dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2))
    table.add_column("")
    for name in reports:
        table.add_column(name, justify="right")
    rows = {
        "chunks": lambda r: f"{r['chunks']['succeeded']} of {r['chunks']['planned']}",
        "calls": lambda r: str(r["calls"]["made"]),
        "tokens in / out": lambda r: f"{r['usage']['inputTokens']:,} / {r['usage']['outputTokens']:,}",
        "cost": lambda r: f"{r['usage']['cost']} {r['usage']['currency']}",
        "p50 / p99": lambda r: f"{r['latency']['p50Milliseconds']} / {r['latency']['p99Milliseconds']} ms",
        "makespan": lambda r: f"{r['makespanSeconds']:.2f} s",
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(report) for report in reports.values()))
    return table


def own_model() -> str:
    job = JOBS["classify"] / "job.yaml"
    return (
        "The model above is simulated, inside the process. For a real one give another endpoint file, with its base URL,\n"
        "its name for the model, and its key in the environment:\n\n"
        "  [bold]OPENAI_API_KEY=… .venv/bin/fanout run examples/endpoints/openai.yaml "
        f"{job} -o build/classify[/bold]\n\n"
        "or a server of your own (vLLM, llama.cpp, LiteLLM, …), which needs no key:\n\n"
        f"  [bold].venv/bin/fanout run examples/endpoints/own-server.yaml {job} -o build/classify \\\n"
        "    --set ModelEndpoint/chat:url=http://127.0.0.1:8000/v1 --set ModelEndpoint/chat:model=my-model[/bold]\n\n"
        "`fanout plan` with the same files says first how many calls and tokens that is, and what it costs."
    )


if __name__ == "__main__":
    main()
