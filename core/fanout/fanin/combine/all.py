"""combine by All: every answer, as an object by branch name."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fanout.fanin.answers import Answered
from fanout.ledger.schema import Settled
from fanout.ledger.settle import Task


class CombineAll:
    """Waits for all answers; the chunk succeeds if enough of them did. A single answer stands for itself."""

    def __init__(self, answers: int, listed: frozenset[str], min_succeeded: int | None) -> None:
        """`answers` per chunk; `listed`: branches with several samples, whose answers make a list."""
        self._single = answers == 1
        self._listed = listed
        self._needed = answers if min_succeeded is None else min(min_succeeded, answers)

    def settle(self, tasks: Sequence[Task]) -> Settled | None:
        if any(task.state == Settled.OPEN for task in tasks):
            return None
        succeeded = sum(task.state == Settled.SUCCEEDED for task in tasks)
        return Settled.SUCCEEDED if succeeded >= self._needed else Settled.FAILED

    def value(self, answers: Sequence[Answered]) -> msgspec.Raw:
        if self._single:
            return answers[0].json_value()
        by_branch: dict[str, msgspec.Raw | list[msgspec.Raw]] = {}
        for answer in answers:
            if answer.branch in self._listed:
                samples = by_branch.setdefault(answer.branch, [])
                assert isinstance(samples, list)
                samples.append(answer.json_value())
            else:
                by_branch[answer.branch] = answer.json_value()
        return msgspec.Raw(msgspec.json.encode(by_branch))
