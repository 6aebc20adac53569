"""Makes input/distributions.jsonl: the Python distributions installed here, with their own summaries."""

from __future__ import annotations

import json
from importlib.metadata import distributions
from pathlib import Path


def main() -> None:
    folder = Path(__file__).parent / "input"
    folder.mkdir(exist_ok=True)
    # One may be found twice, where one environment shows through another.
    found = {d.metadata["Name"]: d.metadata["Summary"] for d in distributions() if d.metadata["Name"]}
    with (folder / "distributions.jsonl").open("w", encoding="utf-8") as file:
        for name in sorted(found, key=str.lower):
            file.write(json.dumps({"name": name, "summary": found[name] or "(no summary)"}, ensure_ascii=False) + "\n")
    print(f"{len(found)} distributions in {file.name}")


if __name__ == "__main__":
    main()
