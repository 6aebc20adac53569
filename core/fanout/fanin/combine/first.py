"""combine by First: the first success is the chunk's answer; the other tasks are given up."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fanout.fanin.answers import Answered
from fanout.ledger.schema import Settled
from fanout.ledger.settle import Task


class CombineFirst:
    """Speculative execution: several ways at once, the quickest wins."""

    def settle(self, tasks: Sequence[Task]) -> Settled | None:
        if any(task.state == Settled.SUCCEEDED for task in tasks):
            return Settled.SUCCEEDED
        return None if any(task.state == Settled.OPEN for task in tasks) else Settled.FAILED

    def value(self, answers: Sequence[Answered]) -> msgspec.Raw:
        # Two may succeed within one commit; input order then decides, the same way each time.
        return next(answer.json_value() for answer in answers if answer.state == Settled.SUCCEEDED)
