"""Nodes of a synthesis on their way into the ledger: each with its task, and its call where there is something to ask."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from fanout.ledger import nodes, plan, settle
from fanout.ledger.blobs import pack
from fanout.ledger.calls import encode_ids
from fanout.ledger.schema import Settled, Stage
from fanout.ledger.settle import TaskOutcome
from fanout.ledger.store import Ledger
from fanout.planning.tokens import estimate


@dataclass(frozen=True)
class NodePlan:
    """A node about to be made: a call's prompt, or a value passed on, or (of a group without answers) neither."""

    parts: int
    prompt: str | None = None
    passed_on: str | None = None


class NodeRows:
    """Collects nodes, and stores them in one transaction."""

    def __init__(self, ledger: Ledger, job: int, step: int, lane: int) -> None:
        self._ledger = ledger
        self._job = job
        self._step = step
        self._lane = lane
        self._nodes: list[dict[str, Any]] = []
        self._tasks: list[dict[str, Any]] = []
        self._calls: list[plan.PlannedCall] = []
        self._settled: list[TaskOutcome] = []

    def add(self, number: int, level: int, position: int, part: int, node: NodePlan) -> bool:
        """One more node. Returns whether it has a call to wait for."""
        task = self._ledger.new_task()
        call = self._ledger.new_call() if node.prompt is not None else None
        self._nodes.append(
            {"job": self._job, "node": number, "level": level, "position": position, "part": part, "parts": node.parts}
        )
        self._tasks.append(self._task(task, number, node.prompt or "", call))
        if call is not None:
            rank = estimate(node.prompt or "")
            self._calls.append(plan.PlannedCall(call, self._job, self._lane, encode_ids([task]), rank))
        elif node.passed_on is not None:
            value = pack(msgspec.json.encode(node.passed_on))
            self._settled.append(TaskOutcome(task, Settled.SUCCEEDED, value=value))
        else:
            self._settled.append(TaskOutcome(task, Settled.SKIPPED))
        return call is not None

    async def insert(self, connection: AsyncConnection) -> None:
        """Store all."""
        await nodes.insert_nodes(connection, self._nodes)
        await plan.insert_tasks(connection, self._tasks)
        await plan.insert_calls(connection, self._calls)
        await settle.settle(connection, self._job, self._settled)

    def _task(self, task: int, node: int, prompt: str, call: int | None) -> dict[str, Any]:
        request = msgspec.json.encode(prompt)
        return {
            "job": self._job,
            "task": task,
            "stage": Stage.REDUCE,
            "unit": node,
            "branch": self._step,
            "sample": 0,
            "request": pack(request),
            "weight": estimate(prompt),
            "digest": blake2b(request, digest_size=16).digest() + b"r",
            "same_as": None,
            "state": Settled.OPEN,
            "call": call,
        }
