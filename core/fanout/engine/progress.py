"""A job's figures while it runs: kept in memory, counted up from what is committed, restored from the ledger on resume."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

from ddsketch import DDSketch

from fanout.engine.completion import Counts, Elapsed
from fanout.fanin.accounting import Charge
from fanout.fanin.aggregator import Batch, count_call
from fanout.ledger import results, settle
from fanout.ledger.jobs import JobRecord
from fanout.ledger.schema import Settled
from fanout.ledger.store import Ledger

PERCENTS = (50, 95, 99)


@dataclass
class Progress:
    """Figures of one job. Times of the event loop, in seconds."""

    planned: int = 0
    planning_done: bool = False
    states: Counter[Settled] = field(default_factory=Counter)
    deduplicated: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    """By the names of count_call and of Charge."""
    latencies: DDSketch = field(default_factory=lambda: DDSketch(0.01))
    """Seconds, of the accepted calls of this run; within 1 %."""
    started: float = 0.0
    began: float = 0.0
    """Unix time of the job's creation."""
    first_sent: float | None = None
    last_accepted: float | None = None
    settled_at_start: int = 0
    last_error: str | None = None

    @classmethod
    async def restore(cls, ledger: Ledger, record: JobRecord) -> Progress:
        """What an earlier run has done."""
        progress = cls(started=asyncio.get_running_loop().time(), began=record.created_at, planning_done=record.planned)
        async with ledger.read() as connection:
            progress.states.update(await settle.chunk_states(connection, record.job))
            for row in await results.call_totals(connection, record.job):
                counted = count_call(sent=row.sent, why=row.why, outcome=row.outcome or "")
                progress.calls.update({name: each * row.calls for name, each in counted.items()})
                for name in Charge.__dataclass_fields__:
                    progress.calls[name] += int(getattr(row, name) or 0)
            progress.deduplicated = await results.deduplicated(connection, record.job)
        progress.planned = progress.states.total()
        progress.settled_at_start = progress.settled
        return progress

    def take(self, batch: Batch) -> None:
        """Results were committed."""
        for state in batch.chunks.values():
            self._move(state)
        self.calls.update(batch.counts)
        for seconds in batch.latencies:
            self.latencies.add(seconds)
        self.last_accepted = batch.last_accepted or self.last_accepted
        self.last_error = batch.error or self.last_error

    def plan(self, chunks: int, failed: int, deduplicated: int) -> None:
        """Chunks were planned; some of them failed at once."""
        self.planned += chunks
        self.deduplicated += deduplicated
        self.states[Settled.FAILED] += failed
        self.states[Settled.OPEN] += chunks - failed

    def _move(self, state: Settled) -> None:
        self.states[state] += 1
        self.states[Settled.OPEN] -= 1

    @property
    def settled(self) -> int:
        """Chunks that have their outcome."""
        return self.planned - self.states[Settled.OPEN]

    @property
    def counts(self) -> Counts:
        """Chunks by outcome."""
        by = self.states
        return Counts(self.planned, by[Settled.SUCCEEDED], by[Settled.FAILED], by[Settled.SKIPPED])

    @property
    def elapsed(self) -> Elapsed:
        """Since the job began (over all runs), and since this run's first call."""
        first = None if self.first_sent is None else asyncio.get_running_loop().time() - self.first_sent
        return Elapsed(time.time() - self.began, first)

    @property
    def makespan(self) -> float:
        """Seconds from this run's first call to its last accepted answer."""
        if self.first_sent is None or self.last_accepted is None:
            return 0.0
        return self.last_accepted - self.first_sent

    @property
    def rate(self) -> float:
        """Chunks settled per second in this run."""
        if self.first_sent is None:
            return 0.0
        seconds = asyncio.get_running_loop().time() - self.first_sent
        return (self.settled - self.settled_at_start) / seconds if seconds > 0 else 0.0

    def percentiles(self) -> list[int]:
        """p50, p95 and p99 of the calls of this run, in milliseconds."""
        found = [self.latencies.get_quantile_value(percent / 100) for percent in PERCENTS]
        return [round(value * 1000) if value is not None else 0 for value in found]
