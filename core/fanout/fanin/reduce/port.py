"""What a reduce step is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path


class ReduceFailedError(Exception):
    """The step cannot make its output; the chunks' results stay readable."""


class ReduceStep(ABC):
    """Makes the job's output. Steps that call models also work while the job runs."""

    async def start(self) -> None:  # noqa: B027
        """Go on where an earlier run was."""

    async def advance(self, chunks: Iterable[int], nodes: Iterable[int], planned: int | None) -> None:  # noqa: B027
        """These chunks and nodes are settled; `planned` is the number of chunks once planning is over.

        Raises ReduceFailedError.
        """

    @property
    def done(self) -> bool:
        """Whether, with all chunks settled, nothing is being waited for."""
        return True

    @abstractmethod
    async def write(self, path: Path) -> None:
        """Write the output, once the job's chunks are settled and the step is done."""
