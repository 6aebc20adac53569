"""The parser and the renderer with their real child processes: what goes in, what comes out, and what is left when they fail."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanout.ledger.blobs import unpack
from fanout.planning import child_process
from fanout.planning.frames import BranchTemplates, Finished, Item, Items, ParseJob, Started
from fanout.planning.parser import ParserLimits, parse
from fanout.planning.renderer import Renderer
from fanout.planning.source import Source, SourceError, open_source

HERE = Path()


def chat(prompt: str = "{{ chunk.text }}", **more: Any) -> BranchTemplates:
    return BranchTemplates(**{"name": "b", "kind": "chat", "prompt": prompt} | more)


def job(*branches: BranchTemplates, **more: Any) -> ParseJob:
    defaults: dict[str, Any] = {
        "format": "Inline",
        "text_field": "text",
        "id_field": None,
        "split_by": "Item",
        "max_tokens": None,
        "pattern": None,
        "branches": list(branches) or [chat()],
        "params": {},
    }
    return ParseJob(**defaults | more)


class Given:
    """A source of these pieces, which may fail or wait in between."""

    def __init__(self, *pieces: bytes | Exception | float, name: str = "data") -> None:
        self.pieces, self.name = pieces, name

    async def files(self) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
        yield self.name, self._bytes()

    async def _bytes(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, float):
                await asyncio.sleep(piece)
            else:
                yield piece


class Parsed:
    """All that came of a parse."""

    def __init__(self) -> None:
        self.started: Started | None = None
        self.batches: list[list[Item]] = []
        self.finished: Finished | None = None

    @property
    def items(self) -> list[Item]:
        """With the parts of large ones put together."""
        whole: dict[int, Item] = {}
        for item in (item for batch in self.batches for item in batch):
            before = whole[item.position].chunks if item.position in whole else []
            whole[item.position] = msgspec.structs.replace(item, chunks=before + item.chunks)
        return list(whole.values())

    def bodies(self) -> list[Any]:
        return [msgspec.json.decode(r.body) for item in self.items for chunk in item.chunks for r in chunk.requests]

    def problems(self) -> list[str]:
        found = [item.problem for item in self.items] + [chunk.problem for item in self.items for chunk in item.chunks]
        return [f"{each.reason}: {each.message}" for each in found if each is not None]


async def parsed(parse_job: ParseJob, source: Source, **limits: Any) -> Parsed:
    result = Parsed()
    async for frame in parse(parse_job, source, limits=ParserLimits(**limits)):
        assert result.finished is None
        match frame:
            case Started():
                result.started = frame
            case Items(items=items):
                result.batches.append(items)
            case Finished():
                result.finished = frame
    assert result.finished is not None
    return result


def inline(*items: Any) -> Source:
    return open_source(list(items), HERE)


async def test_items_with_their_requests() -> None:
    result = await parsed(
        job(
            chat("{{ chunk.text }} in {{ params.tone }}: {{ item.fields.n }}", name="one", system="{{ branch.name }}!"),
            chat(name="two", prompt=None, messages=[("system", "s"), ("user", "{{ branch.name }} {{ item.id }}")]),
            BranchTemplates(name="three", kind="embed", prompt="{{ chunk.text }}"),
            id_field="id",
            params={"tone": "warm"},
        ),
        inline({"id": "a", "text": "T", "n": 5}),
    )
    assert result.started == Started(systems=["one!", "", ""])
    assert result.finished == Finished(items=1)
    (item,) = result.items
    assert (item.position, item.id, item.name, item.where) == (0, "a", "", "input.items[0]")
    assert msgspec.json.decode(item.fields) == {"id": "a", "n": 5}
    assert unpack(item.chunks[0].text) == b"T"
    assert result.bodies() == [
        "T in warm: 5",
        [{"role": "system", "content": "s"}, {"role": "user", "content": "two a"}],
        "T",
    ]


async def test_passthrough() -> None:
    line = {"custom_id": "r-1", "method": "POST", "url": "/v1/x", "body": {"a": [1.5, None]}}
    data = msgspec.json.encode(line) + b'\n{"custom_id": "r-2"}\n'
    parse_job = job(BranchTemplates(name="b", kind="passthrough"), format="OpenAIBatch")
    result = await parsed(parse_job, Given(data, name="batch.jsonl"))
    assert [item.id for item in result.items] == ["r-1", "position:1"]
    assert msgspec.json.decode(result.items[0].fields) == {"custom_id": "r-1", "method": "POST", "url": "/v1/x"}
    assert result.bodies() == [{"url": "/v1/x", "body": {"a": [1.5, None]}}]
    assert len(result.problems()) == 1
    assert 'batch.jsonl line 2: request "r-2": url must be a path' in result.problems()[0]


async def test_the_digest_tells_requests_apart() -> None:
    async def digest(branch: BranchTemplates, text: str = "t") -> bytes:
        result = await parsed(job(branch), inline(text))
        return result.items[0].chunks[0].requests[0].digest

    same = await digest(chat(name="x", system="s"))
    assert len(same) == 16
    assert await digest(chat(name="y", system="s")) == same
    others = [
        await digest(chat(system="s"), "u"),
        await digest(chat(system="S")),
        await digest(chat(system="s", identity=b"1")),
        await digest(chat(system="", identity=b"s")),
        await digest(BranchTemplates(name="x", kind="embed", prompt="{{ chunk.text }}")),
    ]
    assert len({same, *others}) == 6


async def test_a_bad_item_fails_alone() -> None:
    data = b'{"id": 1, "text": "a", "n": 1}\nnonsense\n{"text": "no id"}\n{"id": 4, "text": "b"}\n{"id": 5, "text": "c", "n": 2}'
    result = await parsed(job(chat("{{ item.fields.n }}"), format="JSONL", id_field="id"), Given(data, name="x.jsonl"))
    assert [item.id for item in result.items] == ["1", "position:1", "position:2", "4", "5"]
    assert [len(item.chunks) for item in result.items] == [1, 0, 0, 1, 1]
    assert result.bodies() == ["1", "2"]
    assert [problem.split(":")[:2] for problem in result.problems()] == [
        ["InvalidRecord", " x.jsonl line 2, column 1"],
        ["InvalidRecord", " x.jsonl line 3"],
        ["TemplateFailed", " x.jsonl line 4"],
    ]


async def test_a_large_document_comes_in_several_frames() -> None:
    text = "".join(f"paragraph {i}\n\n" for i in range(1000))
    prompt = "{{ chunk.index + 1 }}/{{ chunk.count }} {{ chunk.text }}"
    result = await parsed(job(chat(prompt), format="Text", split_by="Paragraph"), Given(text.encode()))
    parts = [item for batch in result.batches for item in batch]
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert max(len(part.chunks) for part in parts) <= 256
    assert {part.digest for part in parts} == {parts[0].digest}
    chunks = result.items[0].chunks
    assert [chunk.index for chunk in chunks] == list(range(1000))
    assert b"".join(unpack(chunk.text) for chunk in chunks).decode() == text
    assert result.bodies()[999] == "1000/1000 paragraph 999\n\n"


async def test_frames_are_bounded_and_the_first_is_small() -> None:
    data = b"\n".join(b'"%s"' % (b"x" * 10_000) for _ in range(1000))
    result = await parsed(job(format="JSONL"), Given(data))
    assert len(result.batches[0]) <= 8
    assert max(map(len, result.batches)) <= 256
    assert all(sum(len(c.requests[0].body) for i in batch for c in i.chunks) < 1.1 * 2**20 for batch in result.batches)
    assert [item.position for item in result.items] == list(range(1000))


async def test_items_do_not_wait_for_a_slow_source() -> None:
    release = asyncio.Event()

    class Slow(Given):
        async def _bytes(self) -> AsyncIterator[bytes]:
            yield b'"a"\n"b"\n"c'
            await release.wait()
            yield b'"\n'

    frames = parse(job(format="JSONL"), Slow(), limits=ParserLimits(stall_seconds=2))
    async with aclosing(frames):
        assert isinstance(await anext(frames), Started)
        first = await anext(frames)
        assert isinstance(first, Items)
        assert len(first.items) == 2
        release.set()
        assert [type(frame) async for frame in frames] == [Items, Finished]


async def test_waiting_for_the_source_is_no_stall() -> None:
    result = await parsed(job(format="JSONL"), Given(b'"a"\n', 1.5, b'"b"'), stall_seconds=0.5)
    assert result.finished == Finished(items=2)


async def test_a_source_that_breaks_off_keeps_the_items_so_far() -> None:
    data = b'"a"\n"b"\n{"unfinished": "rec'
    result = await parsed(job(format="JSONL"), Given(data, SourceError("input.uri: gone")))
    assert [item.id for item in result.items] == ["0", "1"]
    assert result.finished is not None
    assert result.finished.items == 2
    assert result.finished.problem is not None
    assert (result.finished.problem.reason, result.finished.problem.message) == ("InputFailed", "input.uri: gone")


async def test_several_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n1\n2\n")
    (tmp_path / "b.csv").write_text("text,other\n3,x\n")
    result = await parsed(job(format="CSV"), open_source("file://*.csv", tmp_path))
    assert [(item.position, item.name, item.where) for item in result.items] == [
        (0, "a.csv", "a.csv line 2"),
        (1, "a.csv", "a.csv line 3"),
        (2, "b.csv", "b.csv line 2"),
    ]


@pytest.mark.parametrize(
    ("parse_job", "message"),
    [
        (job(chat("{{ x ")), 'branch "b": prompt: line 1: '),
        (job(chat(system="{{ params.none }}")), 'branch "b": system: no "none" here'),
        (job(split_by="Pattern", pattern="("), "split.pattern is no RE2 expression: missing )"),
        (job(params={"n": 2**70}), "params: a number beyond 64 bits"),
    ],
)
async def test_what_no_input_can_mend(parse_job: ParseJob, message: str) -> None:
    result = await parsed(parse_job, inline("a"))
    assert result.finished is not None
    assert result.finished.problem is not None
    assert message in result.finished.problem.message
    assert result.batches == []


SLOW = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize(
    ("bomb", "reason"),
    [
        (SLOW, "TooSlow"),
        ("{% for a in range(99999) %}{{ 'x' * 1000 }}{% endfor %}", "TooLarge"),
        ("{{ range(100000)|join('x' * 100000) }}", "TooLarge"),
        (
            "{% set n = namespace(x='x' * 999999) %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "TooLarge",
        ),
        ("{{ [" + "[" * 50 + "]" * 50 + "]|tojson|length / 0 }}", "TemplateFailed"),
    ],
)
async def test_a_template_bomb_fails_its_items_only(bomb: str, reason: str) -> None:
    prompt = f"{{% if chunk.text == 'bomb' %}}{bomb}{{% endif %}}fine"
    parse_job = job(chat(prompt), item_seconds=0.3 if reason == "TooSlow" else 20, max_prompt_bytes=1_000_000)
    result = await parsed(parse_job, inline("a", "bomb", "c"), memory_bytes=1 << 30)
    assert result.bodies() == ["fine", "fine"]
    assert [problem.split(":")[0] for problem in result.problems()] == [reason]
    assert "input.items[1]" in result.problems()[0]
    assert result.finished == Finished(items=3)


async def test_after_a_chunk_that_was_too_slow_its_item_gets_no_more_time() -> None:
    parse_job = job(chat(SLOW), format="Text", split_by="Paragraph", item_seconds=0.2)
    async with asyncio.timeout(10):
        result = await parsed(parse_job, Given(b"a\n\n" * 500))
    assert len(result.problems()) == 500
    assert {problem.split(":")[0] for problem in result.problems()} == {"TooSlow"}


async def test_too_little_memory_ends_the_input_with_what_there_is() -> None:
    data = b'"a"\n' + b'"' + b"x" * 60_000_000 + b'"\n'
    result = await parsed(job(format="JSONL"), Given(data), memory_bytes=150 << 20)
    assert result.finished is not None
    assert [item.id for item in result.items][:1] == ["0"]
    problems = [*result.problems(), *([result.finished.problem.reason] if result.finished.problem else [])]
    assert problems


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def child_pid() -> int:
    """Our child process that parses or renders; servers of other tests' fixtures are children too."""
    parent = os.getpid()
    children = [int(each) for each in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    (pid,) = [each for each in children if b"_child" in Path(f"/proc/{each}/cmdline").read_bytes()]
    return pid


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the child")
async def test_a_child_that_is_killed() -> None:
    hold = asyncio.Event()

    class Held(Given):
        async def _bytes(self) -> AsyncIterator[bytes]:
            yield b'"a"\n"b"\n'
            await hold.wait()

    frames = parse(job(format="JSONL"), Held(name="x.jsonl"))
    async with aclosing(frames):
        assert isinstance(await anext(frames), Started)
        assert isinstance(await anext(frames), Items)
        os.kill(child_pid(), signal.SIGKILL)
        last = await anext(frames)
    assert isinstance(last, Finished)
    assert last.items == 2
    assert last.problem is not None
    assert last.problem.reason == "ParserCrashed"
    assert "failed after x.jsonl line 2: it was killed by SIGKILL" in last.problem.message
    assert "run again" in last.problem.message


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the child")
async def test_a_child_that_hangs() -> None:
    hold = asyncio.Event()

    class Held(Given):
        async def _bytes(self) -> AsyncIterator[bytes]:
            yield b'"a"\n'
            await hold.wait()
            yield b'"b"\n'

    frames = parse(job(format="JSONL"), Held(), limits=ParserLimits(stall_seconds=0.5))
    async with aclosing(frames):
        assert isinstance(await anext(frames), Started)
        assert isinstance(await anext(frames), Items)
        os.kill(child_pid(), signal.SIGSTOP)
        hold.set()
        last = await anext(frames)
    assert isinstance(last, Finished)
    assert last.problem is not None
    assert last.problem.reason == "ParserStalled"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the child")
async def test_nothing_is_left_of_a_parse_that_is_given_up() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b'"line"\n' * 10_000

    class Endless(Given):
        def _bytes(self) -> AsyncIterator[bytes]:
            return endless()

    async with aclosing(parse(job(format="JSONL"), Endless())) as frames:
        async for frame in frames:
            if isinstance(frame, Items):
                break
        pid = child_pid()
    assert not exists(pid)

    async def consume() -> None:
        async with aclosing(parse(job(format="JSONL"), Endless())) as frames:
            async for _ in frames:
                pass

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.5)
    pid = child_pid()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not exists(pid)


async def test_the_child_sees_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("PYTHONSTARTUP", "/secret")
    assert {"OPENAI_API_KEY", "PYTHONSTARTUP"} & child_process.clean_environment().keys() == set()


async def test_the_child_loads_no_engine() -> None:
    """Start-up time, and what untrusted documents can reach."""
    code = (
        "import sys, fanout.planning.sandbox.parser_child, fanout.planning.sandbox.renderer_child\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules} & "
        "{'pydantic', 'sqlalchemy', 'aiohttp', 'httpx', 'asyncio', 'socket', 'ssl', 'semantic_text_splitter', 're2', 'ijson'}))"
    )
    process = await asyncio.create_subprocess_exec(
        *(child_process.sys.executable, "-P", "-c", code),
        stdout=asyncio.subprocess.PIPE,
        env=child_process.clean_environment(),
    )
    out, _ = await process.communicate()
    assert (process.returncode, out.decode().strip()) == (0, "")


class TestRenderer:
    async def test_texts_and_problems(self) -> None:
        async with Renderer() as renderer:
            context = {"value": {"a": 2**70}, "item": {"fields": {"items": "x"}}}
            assert await renderer.render("{{ value.a }} {{ item.fields.items }}", [context]) == [f"{2**70} x"]
            good, bad = await renderer.render("{{ parts|join('-') }}", [{"parts": ["a", "b"]}, {}])
            assert good == "a-b"
            assert (bad.reason, "'parts' is undefined" in bad.message) == ("TemplateFailed", True)

    async def test_limits(self) -> None:
        async with Renderer(seconds=0.3, max_bytes=100) as renderer:
            slow, fine = await renderer.render("{% if x %}" + SLOW + "{% endif %}", [{"x": True}, {"x": False}])
            assert (slow.reason, fine) == ("TooSlow", "")
            assert (await renderer.render("{{ x }}", [{"x": "a" * 101}]))[0].reason == "TooLarge"

    @pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to find the child")
    async def test_started_again_after_a_crash(self) -> None:
        async with Renderer() as renderer:
            assert await renderer.render("a", [{}]) == ["a"]
            os.kill(child_pid(), signal.SIGKILL)
            crashed, again = await renderer.render("b", [{}, {}])
            assert "killed by SIGKILL" in crashed.message
            assert again == "b"

    async def test_cancelled_in_the_middle(self) -> None:
        async with Renderer(seconds=30) as renderer:
            task = asyncio.create_task(renderer.render(SLOW, [{}]))
            await asyncio.sleep(0.5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await renderer.render("{{ x }}", [{"x": 1}]) == ["1"]
