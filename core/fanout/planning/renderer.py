"""Rendering templates over models' answers (synthesize, concat), outside the engine's process."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

import msgspec

from fanout.planning import wire
from fanout.planning.child_process import ChildDiedError, ChildProcess
from fanout.planning.frames import Problem
from fanout.planning.sandbox.jsontext import to_json

MODULE = "fanout.planning.sandbox.renderer_child"
START_SECONDS = 30.0


class Renderer:
    """A service that renders templates in a child process, started on first use and again whenever it fails.

    Limits as in the parser: `max_bytes` per text, `seconds` of CPU time per text, `memory_bytes` of address space.
    """

    def __init__(
        self,
        *,
        memory_bytes: int = 2 << 30,
        max_bytes: int = 8 << 20,
        seconds: float = 10.0,
        stall_seconds: float = 60.0,
    ) -> None:
        self._arguments = [str(memory_bytes), str(max_bytes), str(seconds)]
        self._stall_seconds = stall_seconds + START_SECONDS
        self._child: ChildProcess | None = None
        self._lock = asyncio.Lock()
        self._decoder: msgspec.msgpack.Decoder[str | Problem] = msgspec.msgpack.Decoder(str | Problem)

    async def render(self, template_source: str, contexts: list[dict[str, Any]]) -> list[str | Problem]:
        """The text for each context, or what went wrong with it."""
        async with self._lock:
            return [await self._one(template_source, context) for context in contexts]

    async def aclose(self) -> None:
        """End the child. The renderer can be used again."""
        child, self._child = self._child, None
        if child is not None:
            await child.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _one(self, source: str, context: dict[str, Any]) -> str | Problem:
        try:
            request = wire.message(to_json([source, context]))
        except ValueError as error:
            return Problem(reason="TemplateFailed", message=str(error))
        answer: str | Problem | None = None
        try:
            if self._child is None:
                self._child = await ChildProcess.start(MODULE, self._arguments)
            # The stall limit is for a child that hangs in code which its own alarm cannot stop.
            async with asyncio.timeout(self._stall_seconds):
                await self._child.write(request)
                answer = self._decoder.decode(await self._child.read_message())
        except ChildDiedError as error:
            return _failed(error.cause)
        except TimeoutError:
            return _failed(f"it did nothing for {self._stall_seconds:g} s")
        except msgspec.DecodeError as error:
            return _failed(f"it sent nonsense: {error}")
        finally:
            if answer is None:  # also when cancelled: its next answer would be to the wrong question
                await self.aclose()
        return answer


def _failed(how: str) -> Problem:
    return Problem(
        reason="TemplateFailed",
        message=f"the process that renders templates failed: {how}. Make the template simpler, or show it less at a time",
    )
