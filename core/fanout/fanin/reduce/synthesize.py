"""synthesize: one text from all answers, by model calls in a token-packed tree.

Every node is a task in the ledger and goes the same way as map tasks: dispatcher, queue, worker, aggregator. A node that has one
part only passes it on without a call.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.api.reduce import Synthesize
from fanout.fanin.combine.port import CombineStrategy
from fanout.fanin.output.files import replacing
from fanout.fanin.reading import ResultReader
from fanout.fanin.reduce.concat import Render, as_text
from fanout.fanin.reduce.port import ReduceFailedError, ReduceStep
from fanout.fanin.reduce.tree import Group, Tree, pack_parts
from fanout.ledger import nodes, plan, settle
from fanout.ledger.blobs import pack, unpack
from fanout.ledger.calls import encode_ids
from fanout.ledger.schema import Settled, Stage
from fanout.ledger.settle import TaskOutcome
from fanout.ledger.store import Ledger
from fanout.planning.frames import Problem
from fanout.planning.tokens import estimate

# Estimated tokens may be off by this much before a call grows too long for the model.
SAFETY = 0.8
# What is left for the answer where max_tokens does not say.
ANSWER_TOKENS = 1024


@dataclass(frozen=True)
class Place:
    """Where the step stands in its job."""

    job: int
    step: int
    lane: int
    context_tokens: int
    """The smallest context window of its endpoints."""
    params: dict[str, Any]


@dataclass(frozen=True)
class _NodePlan:
    """A node about to be made: a call's prompt, or a value passed on."""

    parts: int
    prompt: str | None = None
    passed_on: str | None = None


class SynthesizeStep(ReduceStep):
    """Builds the tree from the leaves up, as they settle; the root's text is the output."""

    def __init__(
        self,
        ledger: Ledger,
        reader: ResultReader,
        combine: CombineStrategy,
        spec: Synthesize,
        place: Place,
        *,
        render: Render,
        on_calls: Callable[[int], None],
    ) -> None:
        self._ledger = ledger
        self._reader = reader
        self._combine = combine
        self._spec = spec
        self._place = place
        self._render = render
        self._on_calls = on_calls
        self._tree = Tree(spec.max_parts_per_call)
        self._groups: dict[int, Group] = {}  # the group of each open node
        self._open: dict[Group, int] = defaultdict(int)  # open nodes of each group
        self._deferred: set[Group] = set()
        self._next_node = 0
        self._root: str | None = None
        limit = spec.parameters.get("max_tokens", spec.parameters.get("max_completion_tokens", ANSWER_TOKENS))
        overhead = estimate(spec.prompt) + estimate(spec.system or "") + (limit if isinstance(limit, int) else 0)
        self._budget = max(1, int((place.context_tokens - overhead) * SAFETY))

    async def start(self) -> None:
        async with self._ledger.read() as connection:
            for position, count in (
                await nodes.settled_chunks(connection, self._place.job, self._spec.max_parts_per_call)
            ).items():
                self._tree.settle(1, position * self._spec.max_parts_per_call, count)
            made: dict[Group, int] = {}
            for node in await nodes.load(connection, self._place.job):
                group = Group(node.level, node.position)
                made.setdefault(group, 0)
                self._next_node = node.node + 1
                if node.state == Settled.OPEN:
                    made[group] += 1
                    self._groups[node.node] = group
                elif node.state == Settled.FAILED:
                    raise ReduceFailedError("a call of the synthesis failed in an earlier run")
        for group, still_open in made.items():
            self._tree.make(group)
            if still_open:
                self._open[group] = still_open
            else:
                self._tree.settle(group.level + 1, group.position)

    async def advance(self, chunks: Iterable[int], nodes: Iterable[int], planned: int | None) -> None:
        if planned is not None:
            self._tree.plan(planned)
        for chunk in chunks:
            self._tree.settle(1, chunk)
        for node in nodes:
            await self._node_settled(node)
        while ready := [group for group in self._tree.ready() if self._may_make(group)]:
            for group in ready:
                await self._make(group)
                if self._root is not None:
                    return

    @property
    def done(self) -> bool:
        return self._root is not None

    async def write(self, path: Path) -> None:
        with replacing(path) as file:
            file.write((self._root or "").encode() + b"\n")

    async def _node_settled(self, node: int) -> None:
        group = self._groups.pop(node)
        self._open[group] -= 1
        if self._open[group] == 0:
            del self._open[group]
            self._tree.settle(group.level + 1, group.position)

    def _may_make(self, group: Group) -> bool:
        # Whether a group is alone in its level, and so the root, shows when planning is over.
        return self._tree.width(1) is not None or (group.level == 1 and group not in self._deferred)

    async def _make(self, group: Group) -> None:
        """Make a group's nodes, or find that the level below has come to one output: the root."""
        parts = await self._parts(group)
        alone = self._tree.width(group.level) == 1
        if group.level > 1 and self._tree.width(group.level - 1) == 1 and len(parts) <= 1:
            if not parts:
                raise ReduceFailedError("no chunk succeeded: there is nothing to synthesize")
            self._root = parts[0]
            return
        if group.level > self._spec.max_levels:
            raise ReduceFailedError(
                f"after {self._spec.max_levels} levels (maxLevels) there are still {len(parts)} parts: raise the endpoint's "
                "limits.contextTokens or maxPartsPerCall, or lower parameters.max_tokens so that answers get shorter"
            )
        if len(parts) == 1 and self._tree.width(1) is None:
            self._deferred.add(group)
            return
        await self._store(group, await self._plan_nodes(group, parts, alone=alone))

    async def _parts(self, group: Group) -> list[str]:
        """The texts that a group brings together, in input order."""
        first = group.position * self._spec.max_parts_per_call
        last = first + self._spec.max_parts_per_call - 1
        if group.level == 1:
            return [
                as_text(bytes(self._combine.value(chunk.answers)))
                async for chunk in self._reader.chunks(state=Settled.SUCCEEDED, first=first, last=last)
            ]
        async with self._ledger.read() as connection:
            rows = await nodes.outputs(connection, self._place.job, group.level - 1, first, last)
        for row in rows:
            if row.state == Settled.FAILED:
                error = json.loads(row.error)
                raise ReduceFailedError(f"a call of the synthesis failed: {error['reason']}: {error['message']}")
        return [as_text(unpack(row.value)) for row in rows if row.state == Settled.SUCCEEDED]

    async def _plan_nodes(self, group: Group, parts: list[str], *, alone: bool) -> list[_NodePlan]:
        packs = pack_parts([estimate(part) for part in parts], self._budget)
        if group.level > 1 and len(packs) == len(parts) > 1:
            raise ReduceFailedError(
                f"no two of {len(parts)} parts fit into one call (about {self._budget} tokens for parts): raise the endpoint's "
                "limits.contextTokens, or lower parameters.max_tokens so that answers get shorter"
            )
        single = len(parts) == 1 and not alone
        called = [span for span in packs if not (single or (group.level > 1 and len(span) == 1 and len(packs) > 1))]
        contexts = [
            {"parts": [parts[i] for i in span], "level": group.level, "params": self._place.params} for span in called
        ]
        prompts = dict(zip(called, await self._render(self._spec.prompt, contexts) if called else [], strict=True))
        planned = []
        for span in packs:
            prompt = prompts.get(span)
            if isinstance(prompt, Problem):
                raise ReduceFailedError(f"reduce.steps[{self._place.step}].synthesize.prompt: {prompt.message}")
            passed_on = parts[span.start] if prompt is None else None
            planned.append(_NodePlan(len(span), prompt, passed_on))
        return planned or [_NodePlan(0)]

    async def _store(self, group: Group, planned: Sequence[_NodePlan]) -> None:
        called = False
        async with self._ledger.write() as connection:
            for part, node in enumerate(planned):
                number, self._next_node = self._next_node, self._next_node + 1
                await nodes.insert_nodes(connection, [self._node_row(group, number, part, node)])
                if await self._store_task(connection, number, node):
                    called = True
                    self._groups[number] = group
                    self._open[group] += 1
        self._tree.make(group)
        if called:
            self._on_calls(self._place.lane)
        else:
            self._tree.settle(group.level + 1, group.position)

    def _node_row(self, group: Group, number: int, part: int, node: _NodePlan) -> dict[str, Any]:
        first = group.position * self._spec.max_parts_per_call
        return {
            "job": self._place.job,
            "node": number,
            "level": group.level,
            "first": first,
            "last": first + self._spec.max_parts_per_call - 1,
            "position": group.position,
            "part": part,
            "parts": node.parts,
        }

    async def _store_task(self, connection: AsyncConnection, number: int, node: _NodePlan) -> bool:
        """Store a node's task, settled where there is nothing to ask. Returns whether there is a call."""
        job, lane, task = self._place.job, self._place.lane, self._ledger.new_task()
        request = msgspec.json.encode(node.prompt or "")
        weight = estimate(node.prompt or "")
        call = self._ledger.new_call() if node.prompt is not None else None
        row = {
            "job": job,
            "task": task,
            "stage": Stage.REDUCE,
            "unit": number,
            "branch": self._place.step,
            "sample": 0,
            "request": pack(request),
            "weight": weight,
            "digest": blake2b(request, digest_size=16).digest() + b"r",
            "same_as": None,
            "state": Settled.OPEN,
            "call": call,
        }
        await plan.insert_tasks(connection, [row])
        if call is not None:
            await plan.insert_calls(connection, [plan.PlannedCall(call, job, lane, encode_ids([task]), weight)])
            return True
        if node.passed_on is None:
            outcome = TaskOutcome(task, Settled.SKIPPED)
        else:
            outcome = TaskOutcome(task, Settled.SUCCEEDED, value=pack(msgspec.json.encode(node.passed_on)))
        await settle.settle(connection, job, [outcome])
        return False
