"""What a combine strategy is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from fanout.fanin.answers import Answered
from fanout.ledger.schema import Settled
from fanout.ledger.settle import Task


class CombineStrategy(Protocol):
    """Pure functions over a chunk's tasks."""

    def settle(self, tasks: Sequence[Task]) -> Settled | None:
        """The chunk's state; None while it is open. Tasks still open then are not needed any more."""

    def value(self, answers: Sequence[Answered]) -> msgspec.Raw:
        """JSON of the accepted value of a chunk that succeeded."""
