"""From a job's branches and reduce steps to the dispatcher's lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanout.api.branch import Branch
from fanout.api.job import FanOutJobSpec
from fanout.api.reduce import Synthesize
from fanout.dispatch.lane import Assemble, Lane
from fanout.ledger.schema import Stage
from fanout.planning.assemble.chat import AssembleChat
from fanout.planning.assemble.embed import AssembleEmbed
from fanout.planning.assemble.passthrough import AssemblePassthrough


def build_lanes(spec: FanOutJobSpec, systems: Sequence[str], step_system: str) -> list[Lane]:
    """One lane per branch, then one for the reduce step if it calls models. `systems`: the rendered system messages."""
    lanes = [
        Lane(
            index=index,
            stage=Stage.MAP,
            endpoints=tuple(dict.fromkeys(branch.endpoints)),
            timeout_seconds=branch.timeout_seconds,
            retry_limit=branch.retry.limit,
            max_backoff_seconds=branch.retry.max_backoff_seconds,
            assemble=_assemble(branch, systems[index] if index < len(systems) else ""),
            keeps_refusals=branch.passthrough is not None,
        )
        for index, branch in enumerate(spec.map.branches)
    ]
    step = synthesis(spec)
    if step is not None:
        lanes.append(
            Lane(
                index=len(lanes),
                stage=Stage.REDUCE,
                endpoints=tuple(dict.fromkeys(step.endpoints)),
                timeout_seconds=step.timeout_seconds,
                retry_limit=step.retry.limit,
                max_backoff_seconds=step.retry.max_backoff_seconds,
                assemble=AssembleChat("synthesis", step_system, step.parameters),
            )
        )
    return lanes


def synthesis(spec: FanOutJobSpec) -> Synthesize | None:
    """The job's synthesize step, if it has one."""
    return spec.reduce.steps[0].synthesize if spec.reduce.steps else None


def _assemble(branch: Branch, system: str) -> Assemble:
    if branch.chat is not None:
        return AssembleChat(branch.name, system, branch.chat.parameters, branch.chat.response_schema)
    if branch.embed is not None:
        return AssembleEmbed(branch.embed.dimensions)
    assert branch.passthrough is not None
    return AssemblePassthrough(branch.passthrough.model)


def endpoints_of(spec: FanOutJobSpec) -> list[str]:
    """Names of all endpoints that a job may call, each once, in order."""
    step: Any = synthesis(spec)
    named = [name for branch in spec.map.branches for name in branch.endpoints] + (list(step.endpoints) if step else [])
    return list(dict.fromkeys(named))
