"""Makes input/language-reference.md: the topics that Python's own help() knows, as one long document with headings."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics


def main() -> None:
    folder = Path(__file__).parent / "input"
    folder.mkdir(exist_ok=True)
    document = "\n".join(f"# {name}\n\n{text.strip()}\n" for name, text in sorted(topics.items()))
    path = folder / "language-reference.md"
    path.write_text(document, encoding="utf-8")
    print(f"{len(topics)} topics, {len(document) // 1000} kB in {path}")


if __name__ == "__main__":
    main()
