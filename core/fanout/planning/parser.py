"""Parsing, as the engine sees it: an input goes in, frames of items with their chunks and requests come out.

The work is done by a child process (see parser_child); this side feeds it, with backpressure both ways, and outlives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from fanout.planning import wire
from fanout.planning.child_process import ChildDiedError, ChildProcess
from fanout.planning.frames import Finished, FromParser, Items, ParseJob, Problem
from fanout.planning.source import Source, SourceError

MODULE = "fanout.planning.sandbox.parser_child"


@dataclass(frozen=True)
class ParserLimits:
    """What a parser may use."""

    memory_bytes: int = 2 << 30
    """Address space of the child. Default 2 GiB: the largest item (64 MiB) several times over, and the libraries."""
    stall_seconds: float = 120.0
    """A child that takes no input and gives no frame for this long, though there is work, is ended."""


DEFAULT_LIMITS = ParserLimits()


async def parse(
    job: ParseJob, source: Source, *, limits: ParserLimits = DEFAULT_LIMITS
) -> AsyncGenerator[FromParser, None]:
    """Parse all of `source`: Started, Items …, and always Finished at the end, whatever happens to input or child.

    Close it (contextlib.aclosing) where it may not be read to its end: that ends the child.
    """
    parsing = _Parsing(source, limits)
    try:
        encoded = msgspec.msgpack.encode(job)
    except OverflowError:
        problem = Problem(reason="TemplateFailed", message="params: a number beyond 64 bits: write it as a string")
        yield Finished(items=0, problem=problem)
        return
    child = await ChildProcess.start(MODULE, [str(limits.memory_bytes)])
    feeder = asyncio.create_task(parsing.feed(child, encoded))
    try:
        finished = False
        while not finished:
            frame = await parsing.next_frame(child)
            finished = isinstance(frame, Finished)
            yield frame
    finally:
        feeder.cancel()
        with suppress(asyncio.CancelledError):
            await feeder
        await child.stop()


class _Parsing:
    """One run of a parser: what has been seen of it so far."""

    def __init__(self, source: Source, limits: ParserLimits) -> None:
        self._source = source
        self._stall_seconds = limits.stall_seconds
        self._decoder: msgspec.msgpack.Decoder[FromParser] = msgspec.msgpack.Decoder(FromParser)
        self._moved = 0.0  # when the child last took or gave something
        self._waiting = False  # for the source
        self._source_problem: Problem | None = None
        self._items = 0
        self._last_where = ""

    async def feed(self, child: ChildProcess, job: bytes) -> None:
        """Send the job and the whole input."""
        await self._send(child, wire.message(job))
        try:
            async for name, data in self._source.files():
                await self._send(child, wire.frame(wire.FILE, name.encode("utf-8", "replace")))
                self._waiting = True
                async for piece in data:
                    self._waiting = False
                    await self._send(child, wire.frame(wire.DATA, piece))
                    self._waiting = True
                self._waiting = False
        except SourceError as error:
            self._waiting = False
            self._source_problem = Problem(reason="InputFailed", message=str(error))
            await self._send(child, wire.frame(wire.BROKEN_OFF))
        else:
            await self._send(child, wire.frame(wire.END))

    async def _send(self, child: ChildProcess, data: bytes) -> None:
        await child.write(data)
        self._moved = asyncio.get_running_loop().time()

    async def next_frame(self, child: ChildProcess) -> FromParser:
        """The next frame; a Finished of our own where the child has none."""
        try:
            frame = self._decoder.decode(await self._message(child))
        except ChildDiedError as error:
            return self._ended("ParserCrashed", error.cause)
        except TimeoutError:
            return self._ended("ParserStalled", f"it did nothing for {self._stall_seconds:g} s")
        except msgspec.DecodeError as error:
            return self._ended("ParserCrashed", f"it sent nonsense: {error}")
        if isinstance(frame, Items):
            self._items = frame.items[-1].position + (0 if frame.items[-1].more else 1)
            self._last_where = frame.items[-1].where
        if isinstance(frame, Finished) and self._source_problem is not None:
            return Finished(items=frame.items, problem=self._source_problem)
        return frame

    async def _message(self, child: ChildProcess) -> bytes:
        """The child's next message. Raises TimeoutError if the child stalls."""
        loop = asyncio.get_running_loop()
        self._moved = loop.time()
        reading = asyncio.create_task(child.read_message())
        try:
            while not reading.done():
                left = self._stall_seconds if self._waiting else self._moved + self._stall_seconds - loop.time()
                if left <= 0:
                    raise TimeoutError
                await asyncio.wait({reading}, timeout=left)
            return reading.result()
        finally:
            if not reading.done():
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading

    def _ended(self, reason: str, how: str) -> Finished:
        after = f" after {self._last_where}" if self._last_where else ""
        message = (
            f"the process that reads the input failed{after}: {how}. Most likely one record or document there is too much for "
            "it: look at what comes next in the input, split or remove it, and run again"
        )
        return Finished(items=self._items, problem=Problem(reason=reason, message=message))
