"""The shape of a synthesis: which parts go into which call. Pure bookkeeping.

A level's groups cover `fan_in` consecutive units of the level below (chunks below level 1), whatever order these finish in, so a
group starts as soon as its own units are settled and a straggler holds up nobody but its own branch of the tree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple


class Group(NamedTuple):
    """A group of a level: level 1 is next to the chunks."""

    level: int
    position: int


class Tree:
    """Counts settled units per group, and tells which groups are ready."""

    def __init__(self, fan_in: int) -> None:
        self._fan_in = fan_in
        self._settled: dict[int, Counter[int]] = defaultdict(Counter)  # by level of the group: units settled
        self._made: dict[int, set[int]] = defaultdict(set)
        self._planned: int | None = None

    def plan(self, chunks: int) -> None:
        """The number of chunks is final."""
        self._planned = chunks

    def width(self, level: int) -> int | None:
        """Number of groups of a level; None while planning goes on."""
        if self._planned is None:
            return None
        units = self._planned
        for _ in range(level):
            units = -(-units // self._fan_in)
        return units

    def settle(self, level: int, unit: int, count: int = 1) -> None:
        """`count` units below `level`, of the group that `unit` belongs to, are settled."""
        self._settled[level][unit // self._fan_in] += count

    def make(self, group: Group) -> None:
        """The group's nodes exist."""
        self._made[group.level].add(group.position)
        self._settled[group.level].pop(group.position, None)

    def ready(self) -> list[Group]:
        """Groups all of whose units are settled and that are not made yet."""
        return [
            Group(level, position)
            for level, counts in list(self._settled.items())
            for position, count in counts.items()
            if position not in self._made[level] and count >= self._size(Group(level, position))
        ]

    def _size(self, group: Group) -> int:
        """Units that the group covers. While planning goes on only full groups can be known to be complete."""
        below = self.width(group.level - 1)
        if below is None:
            return self._fan_in
        return min(self._fan_in, below - group.position * self._fan_in)


def pack_parts(tokens: Sequence[int], budget: int) -> list[range]:
    """Consecutive parts per call, such that each call's parts fit `budget` tokens; a part that is too large stands alone."""
    packs: list[range] = []
    start, size = 0, 0
    for i, weight in enumerate(tokens):
        if i > start and size + weight > budget:
            packs.append(range(start, i))
            start, size = i, 0
        size += weight
    if start < len(tokens):
        packs.append(range(start, len(tokens)))
    return packs
