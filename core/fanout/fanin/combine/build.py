"""From a job's `combine` to its strategy."""

from __future__ import annotations

from fanout.api.combine import CombineBy
from fanout.api.job import FanOutJobSpec
from fanout.fanin.combine.all import CombineAll
from fanout.fanin.combine.first import CombineFirst
from fanout.fanin.combine.port import CombineStrategy


def build_combine(spec: FanOutJobSpec) -> CombineStrategy:
    """The strategy that the job asks for."""
    if spec.combine.by == CombineBy.FIRST:
        return CombineFirst()
    listed = frozenset(branch.name for branch in spec.map.branches if branch.samples > 1)
    return CombineAll(spec.answers_per_chunk, listed, spec.combine.min_succeeded)
