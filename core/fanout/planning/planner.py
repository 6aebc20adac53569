"""The planner: takes what the parser makes of the input and stores chunks, tasks and calls, batch by batch.

Each batch is one transaction, with a cursor: a planning that was cut off goes on where it was, and notices if the input is not
the same any more. Dispatch begins with the first batch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.api.job import FanOutJobSpec
from fanout.ledger import jobs, plan, settle
from fanout.ledger.blobs import pack
from fanout.ledger.calls import encode_ids
from fanout.ledger.errors import error_json
from fanout.ledger.jobs import JobRecord
from fanout.ledger.schema import Settled, Stage
from fanout.ledger.store import Ledger
from fanout.planning.frames import Chunk, Finished, FromParser, Item, Items, Problem, Started
from fanout.planning.packing import Packer


class InputChangedError(Exception):
    """The input is not what the first half of the plan was made from."""


class InputFailedError(Exception):
    """The input could not be read to its end."""


class SettleChunks(Protocol):
    """Settles the chunks whose tasks allow it, within the transaction. Returns them."""

    async def __call__(self, connection: AsyncConnection, job: int, tasks: Sequence[settle.Task]) -> list[int]: ...


@dataclass
class Planned:
    """What one batch added."""

    chunks: int = 0
    failed: int = 0
    """Chunks that could not be made: broken records, failed templates."""
    deduplicated: int = 0
    """Tasks that share another's call."""
    settled: list[int] = field(default_factory=list)
    """Chunks that are settled already, since they share a settled task's answer, or failed."""
    lanes: set[int] = field(default_factory=set)
    """Lanes that have new calls."""


@dataclass
class _Rows:
    """A batch on its way into the ledger."""

    items: list[dict[str, Any]] = field(default_factory=list)
    chunks: list[dict[str, Any]] = field(default_factory=list)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    continued: dict[int, int] = field(default_factory=dict)
    """Chunks added to items of earlier batches."""
    failures: list[int] = field(default_factory=list)


class Planner:
    """Plans one job."""

    def __init__(self, ledger: Ledger, record: JobRecord, spec: FanOutJobSpec, settle_chunks: SettleChunks) -> None:
        self._ledger = ledger
        self._record = record
        self._branches = spec.map.branches
        self._longest_first = spec.map.order == "LongestFirst"
        self._settle_chunks = settle_chunks
        self._packers = {
            (b, sample): Packer(branch.batch.max_items, branch.batch.max_tokens)
            for b, branch in enumerate(spec.map.branches)
            for sample in range(branch.samples)
        }
        self._items = record.items
        self._digest = record.input_digest
        self._chunk = 0
        self._skip_chunks = 0
        self._current: int | None = None  # the item whose chunks are still coming
        self._refused: int | None = None

    async def plan(self, frames: AsyncIterator[FromParser], on_batch: Callable[[Planned], None]) -> None:
        """Store all of the input. Raises InputChangedError and InputFailedError; what was stored before stays."""
        await self._resume()
        seen, digest = 0, b""  # of the items that an earlier run has planned
        async for frame in frames:
            match frame:
                case Started():
                    pass  # the templates compile
                case Items(items=items):
                    fresh: list[Item] = []
                    for item in items:
                        if item.position >= self._record.items:
                            fresh.append(item)
                        elif not item.more:
                            seen, digest = seen + 1, _chain(digest, item)
                    if fresh:
                        self._check_unchanged(seen, digest)
                        on_batch(await self._store(fresh))
                case Finished(problem=problem):
                    self._check_unchanged(seen, digest)
                    if problem is not None:
                        raise InputFailedError(problem.message)
                    on_batch(await self._finish())
                    return

    async def _resume(self) -> None:
        async with self._ledger.read() as connection:
            self._chunk = await plan.next_chunk(connection, self._record.job)
            begun = await plan.item_at(connection, self._record.job, self._record.items)
            if begun is not None:
                self._current, self._skip_chunks = self._record.items, begun[1]
                if begun[0] == _refused_id(self._current):
                    self._refused = self._current
            if self._chunk:
                for task in await plan.uncarried(connection, self._record.job):
                    self._packers[task.branch, task.sample].add(task.task, task.weight)

    def _check_unchanged(self, seen: int, digest: bytes) -> None:
        if seen != self._record.items or digest != self._record.input_digest:
            raise InputChangedError(
                f"the input changed since this job's first {self._record.items} items were planned: restore it to go on, "
                "or start anew in another folder"
            )

    async def _store(self, batch: list[Item]) -> Planned:
        async with self._ledger.write() as connection:
            rows = await self._rows(connection, batch)
            settled_leaders = await self._share_requests(connection, rows.tasks)
            await plan.insert_items(connection, rows.items)
            for item, more in rows.continued.items():
                await plan.add_item_chunks(connection, self._record.job, item, more)
            await plan.insert_chunks(connection, rows.chunks)
            planned = Planned(chunks=len(rows.chunks), failed=len(rows.failures), settled=rows.failures)
            for row in rows.tasks:
                if row["same_as"] is None:
                    self._packers[row["branch"], row["sample"]].add(row["task"], row["weight"])
                else:
                    planned.deduplicated += 1
            await self._make_calls(connection, rows.tasks, planned, last=False)
            if settled_leaders:
                shared = await settle.share(connection, self._record.job, settled_leaders)
                planned.settled += await self._settle_chunks(connection, self._record.job, shared)
            await jobs.set_cursor(connection, self._record.job, self._items, self._digest)
        return planned

    async def _finish(self) -> Planned:
        planned = Planned()
        async with self._ledger.write() as connection:
            await self._make_calls(connection, [], planned, last=True)
            await jobs.set_planned(connection, self._record.job)
        return planned

    async def _make_calls(
        self, connection: AsyncConnection, rows: list[dict[str, Any]], planned: Planned, *, last: bool
    ) -> None:
        """Group tasks into calls, and store both."""
        new_tasks = {row["task"]: row for row in rows}
        carried: list[tuple[int, int]] = []
        calls: list[plan.PlannedCall] = []
        for (branch, _sample), packer in self._packers.items():
            for group in packer.rest() if last else packer.full():
                call = self._ledger.new_call()
                rank = sum(light.weight for light in group) if self._longest_first else 0
                ids = [light.task for light in group]
                calls.append(plan.PlannedCall(call, self._record.job, branch, encode_ids(ids), rank))
                planned.lanes.add(branch)
                for task in ids:
                    if task in new_tasks:
                        new_tasks[task]["call"] = call
                    else:
                        carried.append((task, call))
        await plan.insert_tasks(connection, rows)
        await plan.carry(connection, self._record.job, carried)
        await plan.insert_calls(connection, calls)

    async def _rows(self, connection: AsyncConnection, batch: list[Item]) -> _Rows:
        rows = _Rows()
        taken = await plan.taken_ids(connection, self._record.job, [item.id for item in batch])
        for item in batch:
            if item.position == self._refused:
                pass
            elif item.position == self._current:
                self._continue(rows, item)
            elif item.problem is None and item.id in taken:
                self._refused = item.position
                problem = Problem(
                    reason="DuplicateId",
                    message=f'{item.where}: the id "{item.id}" is taken by item {taken[item.id]}: ids must be unique',
                )
                self._add_item(rows, item, _refused_id(item.position), problem)
            else:
                taken[item.id] = item.position
                self._add_item(rows, item, item.id, item.problem)
            self._current = item.position if item.more else None
            if not item.more:
                self._items = item.position + 1
                self._digest = _chain(self._digest, item)
        return rows

    def _continue(self, rows: _Rows, item: Item) -> None:
        """More of a large item; an earlier run may have planned some of these chunks."""
        skipped, fresh = item.chunks[: self._skip_chunks], item.chunks[self._skip_chunks :]
        self._skip_chunks -= len(skipped)
        self._add_chunks(rows, item, fresh)

    def _add_item(self, rows: _Rows, item: Item, id_: str, problem: Problem | None) -> None:
        rows.items.append(
            {
                "job": self._record.job,
                "item": item.position,
                "id": id_,
                "name": item.name,
                "fields": pack(item.fields) if item.fields else None,
                "chunks": 0,
            }
        )
        if problem is not None:
            self._add_chunk(rows, item, Chunk(index=0, title="", text=b"", tokens=0, problem=problem))
        else:
            self._add_chunks(rows, item, item.chunks)

    def _add_chunks(self, rows: _Rows, item: Item, chunks: list[Chunk]) -> None:
        if not (rows.items and rows.items[-1]["item"] == item.position):
            rows.continued[item.position] = rows.continued.get(item.position, 0) + len(chunks)
        for chunk in chunks:
            self._add_chunk(rows, item, chunk)

    def _add_chunk(self, rows: _Rows, item: Item, chunk: Chunk) -> None:
        number, self._chunk = self._chunk, self._chunk + 1
        problem = chunk.problem
        rows.chunks.append(
            {
                "job": self._record.job,
                "chunk": number,
                "item": item.position,
                "idx": chunk.index,
                "title": chunk.title,
                "text": chunk.text or None,
                "tokens": chunk.tokens,
                "state": Settled.OPEN if problem is None else Settled.FAILED,
                "error": None if problem is None else error_json(problem.reason, problem.message),
            }
        )
        if rows.items and rows.items[-1]["item"] == item.position:
            rows.items[-1]["chunks"] += 1
        if problem is not None:
            rows.failures.append(number)
            return
        for branch, (spec, request) in enumerate(zip(self._branches, chunk.requests, strict=True)):
            for sample in range(spec.samples):
                rows.tasks.append(
                    {
                        "job": self._record.job,
                        "task": self._ledger.new_task(),
                        "stage": Stage.MAP,
                        "unit": number,
                        "branch": branch,
                        "sample": sample,
                        "request": pack(request.body),
                        "weight": request.tokens,
                        "digest": request.digest + sample.to_bytes(1),  # two samples are two requests
                        "same_as": None,
                        "state": Settled.OPEN,
                        "call": None,
                    }
                )

    async def _share_requests(self, connection: AsyncConnection, rows: list[dict[str, Any]]) -> list[int]:
        """Mark tasks whose request another task sends already. Returns those others that are settled already."""
        first: dict[bytes, int] = {}
        known = await plan.tasks_by_digest(connection, self._record.job, [row["digest"] for row in rows])
        settled: set[int] = set()
        for row in rows:
            digest = row["digest"]
            if digest in known:
                row["same_as"], is_settled = known[digest]
                if is_settled:
                    settled.add(row["same_as"])
            elif digest in first:
                row["same_as"] = first[digest]
            else:
                first[digest] = row["task"]
        return sorted(settled)


def _refused_id(position: int) -> str:
    """Stands for an id that another item has; the parser refuses ids that look like it."""
    return f"position:{position}"


def _chain(digest: bytes, item: Item) -> bytes:
    return blake2b(digest + item.digest, digest_size=16).digest()
