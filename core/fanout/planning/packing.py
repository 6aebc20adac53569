"""Batching: which tasks share a call. Grouped by similar weight, so that no heavy one makes light ones wait."""

from __future__ import annotations

from typing import NamedTuple


class Light(NamedTuple):
    """A task waiting for company."""

    task: int
    weight: int


class Packer:
    """Groups the tasks of one branch and sample into calls of at most `max_items` tasks and `max_tokens` input tokens."""

    def __init__(self, max_items: int, max_tokens: int | None) -> None:
        self._max_items = max_items
        self._max_tokens = max_tokens
        self._waiting: list[Light] = []

    def add(self, task: int, weight: int) -> None:
        """One more task."""
        self._waiting.append(Light(task, weight))

    def full(self) -> list[list[Light]]:
        """The calls that can be made full now; the rest, the lightest, waits for more tasks."""
        return self._take(len(self._waiting) - len(self._waiting) % self._max_items)

    def rest(self) -> list[list[Light]]:
        """All that is left, at the end of the input."""
        return self._take(len(self._waiting))

    def _take(self, count: int) -> list[list[Light]]:
        if count == 0:
            return []
        # Equal weights keep the input's order, so that a plan is the same each time.
        self._waiting.sort(key=lambda light: (-light.weight, light.task))
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        groups: list[list[Light]] = []
        size = 0
        for light in taken:
            if not groups or len(groups[-1]) == self._max_items or self._too_heavy(size + light.weight):
                groups.append([])
                size = 0
            groups[-1].append(light)
            size += light.weight
        # The calls in the input's order, by their first task: whoever sends them longest first ranks them anew.
        return sorted(groups, key=lambda group: min(light.task for light in group))

    def _too_heavy(self, tokens: int) -> bool:
        return self._max_tokens is not None and tokens > self._max_tokens
