"""The parser's work: records → items with their chunks and requests. One bad item costs that item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from fanout.ledger.blobs import pack
from fanout.planning.frames import Chunk, Item, ParseJob, Problem, Request
from fanout.planning.sandbox.confine import Clock, TooSlowError
from fanout.planning.sandbox.jsontext import to_json
from fanout.planning.sandbox.read.identity import LOST, Identified, identify
from fanout.planning.sandbox.read.record import Broken, Record, invalid
from fanout.planning.sandbox.requests import BranchRequests, RenderError
from fanout.planning.sandbox.split import Pieces, Splitter
from fanout.planning.sandbox.template.environment import Environment, Fields
from fanout.planning.tokens import estimate

CHUNKS_PER_ITEM_FRAME = 256
BYTES_PER_ITEM_FRAME = 1 << 20
CHUNKS_PER_BUDGET = 1000
BYTES_PER_BUDGET = 8 << 20
"""An item has ParseJob.item_seconds for each of these."""


class Pipeline:
    """Parses one job's input. Raises RenderError and PatternError for what no input can mend."""

    def __init__(self, job: ParseJob) -> None:
        self._job = job
        environment = Environment()
        with Clock(job.item_seconds):
            self._splitter = Splitter(job.split_by, pattern=job.pattern, max_tokens=job.max_tokens)
            self._branches = [BranchRequests(environment, b, job.params, job.max_prompt_bytes) for b in job.branches]
        self._passthrough = all(branch.kind == "passthrough" for branch in job.branches)
        self._is_batch = job.format == "OpenAIBatch"
        self._id_field = "custom_id" if self._is_batch else job.id_field
        self.items = 0

    @property
    def systems(self) -> list[str]:
        """Each branch's system message."""
        return [branch.system for branch in self._branches]

    def parse(self, name: str, records: Iterable[Record | Broken]) -> Iterator[tuple[Item, int]]:
        """A file's items with their approximate sizes in bytes; a large item comes in several (Item.more)."""
        for record in records:
            position = self.items
            if isinstance(record, Broken):
                yield self._lost(name, position, record, record.problem)
            else:
                yield from self._item(name, position, record)
            self.items += 1

    def _lost(self, name: str, position: int, record: Record | Broken, problem: Problem) -> tuple[Item, int]:
        item = Item(
            position=position,
            id=f"{LOST}{position}" if self._id_field is not None else str(position),
            name=name,
            fields=b"",
            where=record.where,
            digest=record.digest,
            problem=problem,
        )
        return item, len(problem.message)

    def _item(self, name: str, position: int, record: Record) -> Iterator[tuple[Item, int]]:
        prepared = self._prepare(position, record)
        if isinstance(prepared, Problem):
            yield self._lost(name, position, record, prepared)
            return
        known, fields, pieces = prepared
        shown = {"id": known.id, "name": name, "index": position, "fields": Fields(known.fields)}
        item = Item(
            position=position,
            id=known.id,
            name=name,
            fields=fields,
            where=record.where,
            digest=record.digest,
            more=True,
        )
        chunks: list[Chunk] = []
        size = len(fields)
        for chunk, bytes_ in self._chunks(record, shown, pieces):
            if chunks and (len(chunks) == CHUNKS_PER_ITEM_FRAME or size + bytes_ > BYTES_PER_ITEM_FRAME):
                yield msgspec.structs.replace(item, chunks=chunks), size
                chunks, size = [], len(fields)
            chunks.append(chunk)
            size += bytes_
        yield msgspec.structs.replace(item, chunks=chunks, more=False), size

    def _prepare(self, position: int, record: Record) -> tuple[Identified, bytes, Pieces] | Problem:
        """Identify and split one record."""
        try:
            known = identify(record, position, text_field=self._job.text_field, id_field=self._id_field)
            if isinstance(known, Problem):
                return known
            if self._passthrough:
                known = _request_line(known, record)
            with Clock(self._job.item_seconds * (1 + len(known.text) // BYTES_PER_BUDGET)):
                pieces = self._splitter.split(known.text)
            fields = to_json(known.fields) if known.fields else b""
        except TooSlowError:
            return self._too_slow(record.where, "splitting it")
        except MemoryError:
            return _out_of_memory(record.where)
        except ValueError as error:
            return invalid(f"{record.where}: {error}")
        return known, fields, pieces

    def _chunks(self, record: Record, item: dict[str, Any], pieces: Pieces) -> Iterator[tuple[Chunk, int]]:
        clock = Clock(self._job.item_seconds)
        count = len(pieces)
        for index, (title, text) in enumerate(pieces):
            if index % CHUNKS_PER_BUDGET == 0 and index:
                clock = Clock(self._job.item_seconds)
            context = {
                "chunk": {"text": text, "index": index, "count": count, "title": title},
                "item": item,
                "params": self._job.params,
            }
            requests = self._requests(record, context, clock)
            # A passed-through request is all there is to see of its line.
            packed = b"" if self._passthrough else pack(text.encode("utf-8", "replace"))
            if isinstance(requests, Problem):
                chunk = Chunk(index=index, title=title, text=packed, tokens=estimate(text), problem=requests)
                size = len(packed)
                if requests.reason == "TooSlow":
                    clock = _USED_UP  # what comes after would take as long
            else:
                chunk = Chunk(index=index, title=title, text=packed, tokens=estimate(text), requests=requests)
                size = len(packed) + sum(len(request.body) + 32 for request in requests)
            yield chunk, size + len(title) + 64

    def _requests(self, record: Record, context: dict[str, Any], clock: Clock) -> list[Request] | Problem:
        try:
            with clock:
                return [branch.request(context, record.value) for branch in self._branches]
        except RenderError as error:
            return Problem(reason=error.problem.reason, message=f"{record.where}: {error.problem.message}")
        except TooSlowError:
            return self._too_slow(record.where, "rendering its prompts")
        except MemoryError:
            return _out_of_memory(record.where)
        except ValueError as error:
            return invalid(f"{record.where}: {error}")

    def _too_slow(self, where: str, doing: str) -> Problem:
        return Problem(
            reason="TooSlow",
            message=f"{where}: {doing} took more than {self._job.item_seconds:g} s of CPU time: simplify the template's loops, "
            "or split the item before the job reads it",
        )


_USED_UP = Clock(0)


def _request_line(known: Identified, record: Record) -> Identified:
    """A line that is passed through: its body is in the request, and need not be kept twice."""
    line = record.value
    assert isinstance(line, dict)
    fields = {key: value for key, value in line.items() if key != "body"}
    return Identified(known.id, "", fields)


def _out_of_memory(where: str) -> Problem:
    return Problem(
        reason="TooLarge",
        message=f"{where}: out of memory: split the item before the job reads it, or make the template show less",
    )
