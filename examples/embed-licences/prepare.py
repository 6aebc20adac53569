"""Fills input/ with long texts: Debian's common licences, or where there are none the topics of Python's help()."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics

LICENCES = Path("/usr/share/common-licenses")


def main() -> None:
    folder = Path(__file__).parent / "input"
    folder.mkdir(exist_ok=True)
    texts = licences() or dict(sorted(topics.items())[:16])
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    print(f"{len(texts)} texts in {folder}")


def licences() -> dict[str, str]:
    """The licences by name; without the links from one name to another."""
    if not LICENCES.is_dir():
        return {}
    files = [path for path in sorted(LICENCES.iterdir()) if path.is_file() and not path.is_symlink()]
    return {path.name: path.read_text(encoding="utf-8", errors="replace") for path in files}


if __name__ == "__main__":
    main()
