"""synthesize: one text from all answers, by model calls in a token-packed tree.

Every node is a task in the ledger and goes the same way as map tasks: dispatcher, queue, worker, aggregator. A node that has one
part only passes it on without a call.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fanout.api.reduce import Synthesize
from fanout.fanin.combine.port import CombineStrategy
from fanout.fanin.output.files import replacing
from fanout.fanin.reading import ResultReader
from fanout.fanin.reduce.concat import Render, as_text
from fanout.fanin.reduce.node_rows import NodePlan, NodeRows
from fanout.fanin.reduce.port import ReduceFailedError, ReduceStep
from fanout.fanin.reduce.tree import Group, Tree, pack_parts
from fanout.ledger import nodes
from fanout.ledger.blobs import unpack
from fanout.ledger.schema import Settled
from fanout.ledger.store import Ledger
from fanout.planning.frames import Problem
from fanout.planning.tokens import estimate

# Estimated tokens may be off by this much before a call grows too long for the model.
SAFETY = 0.8
# Groups made in one transaction.
AT_ONCE = 32
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
            self._node_settled(node)
        while self._root is None and (ready := [group for group in self._tree.ready() if self._may_make(group)]):
            await self._make(ready[:AT_ONCE])

    @property
    def done(self) -> bool:
        return self._root is not None

    async def write(self, path: Path) -> None:
        with replacing(path) as file:
            file.write((self._root or "").encode() + b"\n")

    def _node_settled(self, node: int) -> None:
        group = self._groups.pop(node)
        self._open[group] -= 1
        if self._open[group] == 0:
            del self._open[group]
            self._tree.settle(group.level + 1, group.position)

    def _may_make(self, group: Group) -> bool:
        # Whether a group is alone in its level, and so the root, shows when planning is over.
        return self._tree.width(1) is not None or (group.level == 1 and group not in self._deferred)

    async def _make(self, groups: Sequence[Group]) -> None:
        """Make the nodes of several groups, in one transaction."""
        made = await asyncio.gather(*(self._plan_group(group) for group in groups), return_exceptions=True)
        nodes_of: list[tuple[Group, Sequence[NodePlan]]] = []
        for group, planned in zip(groups, made, strict=True):
            if isinstance(planned, BaseException):
                raise planned
            if planned is not None:
                nodes_of.append((group, planned))
        if nodes_of:
            await self._store(nodes_of)

    async def _plan_group(self, group: Group) -> Sequence[NodePlan] | None:
        """A group's nodes; None where there is nothing to make: the level below has come to one output, the root, or it is too
        early to tell."""
        parts = await self._parts(group)
        if group.level > 1 and self._tree.width(group.level - 1) == 1 and len(parts) <= 1:
            if not parts:
                raise ReduceFailedError("no chunk succeeded: there is nothing to synthesize")
            self._root = parts[0]
            return None
        if group.level > self._spec.max_levels:
            raise ReduceFailedError(
                f"after {self._spec.max_levels} levels (maxLevels) there are still {len(parts)} parts: raise the endpoint's "
                "limits.contextTokens or maxPartsPerCall, or lower parameters.max_tokens so that answers get shorter"
            )
        if len(parts) == 1 and self._tree.width(1) is None:
            self._deferred.add(group)
            return None
        return await self._plan_nodes(group, parts, alone=self._tree.width(group.level) == 1)

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

    async def _plan_nodes(self, group: Group, parts: list[str], *, alone: bool) -> list[NodePlan]:
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
            planned.append(NodePlan(len(span), prompt, passed_on))
        return planned or [NodePlan(0)]

    async def _store(self, groups: Sequence[tuple[Group, Sequence[NodePlan]]]) -> None:
        store = NodeRows(self._ledger, self._place.job, self._place.step, self._place.lane)
        for group, planned in groups:
            for part, node in enumerate(planned):
                number, self._next_node = self._next_node, self._next_node + 1
                if store.add(number, group.level, group.position, part, node):
                    self._groups[number] = group
                    self._open[group] += 1
        async with self._ledger.write() as connection:
            await store.insert(connection)
        for group, _ in groups:
            self._tree.make(group)
            if group not in self._open:  # nothing to ask: settled as it is made
                self._tree.settle(group.level + 1, group.position)
        self._on_calls(self._place.lane)
