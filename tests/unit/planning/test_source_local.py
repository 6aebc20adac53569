"""Files and inline items as sources, and the format by the name's ending."""

from pathlib import Path

import pytest

from fanout.planning.source import Source, SourceError, detect_format, open_source


async def contents(source: Source) -> dict[str, bytes]:
    return {name: b"".join([piece async for piece in data]) async for name, data in source.files()}


async def test_a_file_relative_to_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_bytes(b"x" * 3_000_000)
    assert await contents(open_source("file://data/a.jsonl", tmp_path)) == {"a.jsonl": b"x" * 3_000_000}
    assert await contents(open_source(f"file://{tmp_path}/data/../data/a.jsonl", Path("/"))) == {
        "a.jsonl": b"x" * 3_000_000
    }


async def test_several_files_sorted_by_name(tmp_path: Path) -> None:
    for name in ("b/2.txt", "a/1.txt", "a/10.txt", "a/x.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    assert list(await contents(open_source("file://a/*.txt", tmp_path))) == ["1.txt", "10.txt"]
    assert list(await contents(open_source("file://*/?.txt", tmp_path))) == ["a/1.txt", "b/2.txt"]


async def test_names_with_special_characters(tmp_path: Path) -> None:
    for name in ("a b.txt", "100%.txt", "[1].txt"):
        (tmp_path / name).write_text(name)
    assert list(await contents(open_source("file://a%20b.txt", tmp_path))) == ["a b.txt"]
    assert list(await contents(open_source("file://100%.txt", tmp_path))) == ["100%.txt"]
    assert list(await contents(open_source("file://[1]*", tmp_path))) == ["[1].txt"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("file://no.txt", "no such file: .*no.txt .*relative path starts at the manifest's folder"),
        ("file://*.no", r"no file matches file://\*.no"),
        ("file://folder", r"is a folder: write file://folder/\* for the files in it"),
        ("ftp://x/y", "only file:// and https:// can be read"),
    ],
)
def test_what_is_not_there(tmp_path: Path, uri: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SourceError, match=f"input.uri: .*{message}"):
        open_source(uri, tmp_path)


async def test_a_file_that_goes_away(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    source = open_source("file://a.txt", tmp_path)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(SourceError, match=r"cannot read .*a\.txt: No such file"):
        await contents(source)


async def test_inline_items() -> None:
    assert await contents(open_source(["a\n", {"id": 2**70}], Path())) == {"": b'"a\\n"\n{"id":%d}' % 2**70}
    with pytest.raises(SourceError, match=r"input\.items\[1\]: "):
        open_source(["a", "\ud800"], Path())


@pytest.mark.parametrize(
    ("uri", "declared", "format_"),
    [
        ("file://a.jsonl", "Auto", "JSONL"),
        ("file://a.NDJSON", "Auto", "JSONL"),
        ("file://x/*.csv", "Auto", "CSV"),
        ("https://host/a.json?sig=a.csv", "Auto", "JSON"),
        ("file://why?.json", "Auto", "JSON"),
        ("file://README", "Auto", "Text"),
        ("file://a.jsonl", "OpenAIBatch", "OpenAIBatch"),
        (None, "Auto", "Inline"),
    ],
)
def test_formats(uri: str | None, declared: str, format_: str) -> None:
    assert detect_format(uri, declared) == format_
