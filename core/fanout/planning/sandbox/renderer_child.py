"""The renderer's process: templates over answers of models, which are as untrusted as documents.

`python -m fanout.planning.sandbox.renderer_child MEMORY_BYTES MAX_BYTES SECONDS`: for each JSON message [template, context] on
stdin one msgpack message on stdout, a text or a Problem.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import msgspec

from fanout.planning.frames import Problem
from fanout.planning.sandbox.confine import Clock, TooSlowError, confine
from fanout.planning.sandbox.template.environment import Environment, Fields
from fanout.planning.sandbox.template.render import Prompt, RenderError
from fanout.planning.wire import InputFrames, message, write_all


class _Renderer:
    def __init__(self, max_bytes: int, seconds: float) -> None:
        self._environment = Environment()
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._source: str | None = None
        self._prompt: Prompt | None = None

    def render(self, request: bytes) -> str | Problem:
        try:
            with Clock(self._seconds):
                source, context = msgspec.json.decode(request)
                return self._compiled(source).render(_with_fields(context))
        except RenderError as error:
            return error.problem
        except TooSlowError:
            return Problem(
                reason="TooSlow",
                message=f"took more than {self._seconds:g} s of CPU time: simplify the template's loops",
            )
        except MemoryError:
            return Problem(reason="TooLarge", message="out of memory: make the template show less")

    def _compiled(self, source: str) -> Prompt:
        # One template at a time: a reduce step renders its own for all of its answers.
        if self._prompt is None or source != self._source:
            self._prompt = Prompt(self._environment, source, "template", self._max_bytes)
            self._source = source
        return self._prompt


def _with_fields(context: dict[str, Any]) -> dict[str, Any]:
    item = context.get("item")
    if isinstance(item, dict) and isinstance(item.get("fields"), dict):
        return {**context, "item": {**item, "fields": Fields(item["fields"])}}
    return context


def main() -> None:
    memory_bytes, max_bytes, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    stdout = os.dup(1)
    os.dup2(2, 1)
    confine(memory_bytes)
    renderer = _Renderer(max_bytes, seconds)
    frames = InputFrames(0)
    encoder = msgspec.msgpack.Encoder()
    try:
        while (request := frames.message()) is not None:
            write_all(stdout, message(encoder.encode(renderer.render(request))))
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    main()
