"""The parser's process: `python -m fanout.planning.sandbox.parser_child MEMORY_BYTES`. Input on stdin, frames on stdout (see wire).

It sees untrusted documents and so has nothing else: no secret in its environment, no network code, little memory, few files.
"""

from __future__ import annotations

import os
import sys

import msgspec

from fanout.planning.frames import Finished, FromParser, Item, Items, ParseJob, Problem, Started
from fanout.planning.sandbox.confine import TooSlowError, confine
from fanout.planning.sandbox.pipeline import Pipeline
from fanout.planning.sandbox.read import reader_for
from fanout.planning.sandbox.read.record import UnreadableError
from fanout.planning.sandbox.requests import RenderError
from fanout.planning.wire import BrokenOffError, InputFrames, message, write_all

FIRST_BATCH = 8
LARGEST_BATCH = 256
BATCH_BYTES = 1 << 20


class Output:
    """Sends frames. Items go in batches that start small, so that the first call need not wait for many."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._encoder = msgspec.msgpack.Encoder()
        self._items: list[Item] = []
        self._count = self._bytes = 0
        self._limit = FIRST_BATCH

    def add(self, item: Item, size: int) -> None:
        """One more item of about `size` bytes."""
        self._items.append(item)
        self._count += max(1, len(item.chunks))
        self._bytes += size
        if self._count >= self._limit or self._bytes >= BATCH_BYTES:
            self.flush()
            self._limit = min(2 * self._limit, LARGEST_BATCH)

    def flush(self) -> None:
        """Send what is there."""
        if self._items:
            self.send(Items(items=self._items))
            self._items = []
            self._count = self._bytes = 0

    def send(self, frame: FromParser) -> None:
        write_all(self._fd, message(self._encoder.encode(frame)))


def run(frames: InputFrames, output: Output, job: ParseJob) -> Finished:
    """Parse all input; returns the last frame to send."""
    try:
        pipeline = Pipeline(job)
    except RenderError as error:
        return Finished(items=0, problem=error.problem)
    except TooSlowError:
        return Finished(items=0, problem=Problem(reason="TooSlow", message="the templates take too long to compile"))
    except ValueError as error:  # PatternError, among others
        return Finished(items=0, problem=Problem(reason="InvalidPattern", message=str(error)))
    output.send(Started(systems=pipeline.systems))
    problem = None
    try:
        _parse_files(frames, output, job, pipeline)
    except UnreadableError as error:
        problem = error.problem
    except BrokenOffError:  # the engine knows why, and says so instead
        problem = Problem(reason="InputFailed", message="the input broke off")
    except MemoryError:
        problem = Problem(
            reason="TooLarge",
            message=f"out of memory after {pipeline.items} items: split the input's documents or records",
        )
    output.flush()
    return Finished(items=pipeline.items, problem=problem)


def _parse_files(frames: InputFrames, output: Output, job: ParseJob, pipeline: Pipeline) -> None:
    read = reader_for(job.format)
    while (name := frames.next_file()) is not None:
        for item, size in pipeline.parse(name, read(frames, name, job.max_item_bytes)):
            output.add(item, size)


def main() -> None:
    memory_bytes = int(sys.argv[1])
    # Whatever prints must not get between the frames.
    stdout = os.dup(1)
    os.dup2(2, 1)
    confine(memory_bytes)
    output = Output(stdout)
    frames = InputFrames(0, on_wait=output.flush)
    try:
        if (encoded := frames.message()) is not None:
            output.send(run(frames, output, msgspec.msgpack.decode(encoded, type=ParseJob)))
    except BrokenPipeError:
        os._exit(1)  # the engine is gone, and nobody left to tell


if __name__ == "__main__":
    main()
