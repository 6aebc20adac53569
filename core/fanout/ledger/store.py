"""Opening the ledger, and the two ways into it: many readers, one writer."""

from __future__ import annotations

import asyncio
import fcntl
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import event, func, select, text, update
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from fanout.ledger import schema
from fanout.ledger.statistics import give_statistics

WRITES = "fanout_writes"  # execution option of transactions that write
OPENING = 0x66616E6F7574  # advisory lock of those that open a PostgreSQL ledger: "fanout"


_rollbacks: set[asyncio.Future[None]] = set()  # under way: the event loop alone would let them be collected


class LedgerInUseError(Exception):
    """Another process works with this ledger."""


class FencedError(Exception):
    """Another process took the ledger over: this one must not write any more."""


class LedgerVersionError(Exception):
    """The ledger was written by another version of Fanout."""


class Ledger:
    """A SQLite file or a PostgreSQL database.

    Writers take turns (SQLite has one writer anyway, and what is written is decided in one process); each write transaction
    first checks that the epoch is still ours. Ids of tasks and calls are counted up here: one writer needs no sequences.
    """

    def __init__(self, engine: AsyncEngine, epoch: int, lock: IO[str] | None) -> None:
        self.epoch = epoch
        self._engine = engine
        self._writer = _writing(engine)
        self._lock_file = lock
        self._turn = asyncio.Lock()
        self._next_task = itertools.count()
        self._next_call = itertools.count()

    @classmethod
    async def open(cls, where: Path | str) -> Ledger:
        """Open or create the ledger: a path for SQLite, or a URL (postgresql+asyncpg://…). Raises LedgerInUseError."""
        lock: IO[str] | None = None
        if isinstance(where, Path):
            lock = _lock(where.with_suffix(".lock"))
            engine = _sqlite(where)
        else:
            engine = create_async_engine(make_url(where), pool_size=4)
        try:
            async with _writing(engine).begin() as connection:
                if connection.dialect.name == "postgresql":  # CREATE TABLE IF NOT EXISTS is not safe beside another
                    await connection.execute(select(func.pg_advisory_xact_lock(OPENING)))
                await connection.run_sync(schema.metadata.create_all)
                epoch = await _raise_epoch(connection)
            ledger = cls(engine, epoch, lock)
            await ledger._count_on()
        except BaseException:
            await engine.dispose()
            if lock is not None:
                lock.close()
            raise
        return ledger

    async def close(self) -> None:
        """Close all connections and let go of the file."""
        await self._engine.dispose()
        if self._lock_file is not None:
            self._lock_file.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection that sees what was committed."""
        async with self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction: all or nothing, durable when the block ends. Raises FencedError."""
        async with self._turn, self._writer.begin() as connection:
            # Shared lock: whoever takes the ledger over waits until this transaction has ended.
            if await connection.scalar(select(schema.ledger.c.epoch).with_for_update(read=True)) != self.epoch:
                raise FencedError("another Fanout took over this ledger; this one stops")
            yield connection

    def new_task(self) -> int:
        """An id no task has had."""
        return next(self._next_task)

    def new_call(self) -> int:
        """An id no call has had."""
        return next(self._next_call)

    async def _count_on(self) -> None:
        async with self.read() as connection:
            task = await connection.scalar(select(func.max(schema.tasks.c.task)))
            call = await connection.scalar(select(func.max(schema.calls.c.call)))
        self._next_task = itertools.count((-1 if task is None else task) + 1)
        self._next_call = itertools.count((-1 if call is None else call) + 1)


async def _raise_epoch(connection: AsyncConnection) -> int:
    row = (await connection.execute(select(schema.ledger).with_for_update())).first()
    if row is None:
        if connection.dialect.name == "sqlite":
            await give_statistics(connection)
        await connection.execute(schema.ledger.insert().values(id=1, schema_version=schema.SCHEMA_VERSION, epoch=1))
        return 1
    if row.schema_version != schema.SCHEMA_VERSION:
        raise LedgerVersionError(
            f"the ledger has schema version {row.schema_version}, this Fanout writes {schema.SCHEMA_VERSION}: "
            "finish the job with the version that began it, or choose another folder"
        )
    await connection.execute(update(schema.ledger).values(epoch=row.epoch + 1))
    return int(row.epoch) + 1


def _rolled_back(rollback: asyncio.Future[None]) -> None:
    _rollbacks.discard(rollback)
    if not rollback.cancelled():
        rollback.exception()  # a connection that is closed already has nothing to roll back


def _writing(engine: AsyncEngine) -> AsyncEngine:
    """The same connections, for transactions that write."""
    return engine.execution_options(**{WRITES: True})


def _lock(path: Path) -> IO[str]:
    file = path.open("w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise LedgerInUseError(
            f"another Fanout is at work in {path.parent}: wait for it, or choose another folder"
        ) from None
    return file


def _sqlite(path: Path) -> AsyncEngine:
    # The last one back is the first one out: few connections do the work, and have their caches warm.
    engine = create_async_engine(f"sqlite+aiosqlite:///{path}", pool_size=4, pool_use_lifo=True)

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: Any, _record: Any) -> None:
        # The driver's own idea of when a transaction begins is turned off; `begun` says it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        # WAL lets readers go on beside the writer; FULL makes each commit survive a power cut, not only a crash.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=10000",
            "cache_size=-4096",  # KiB, per connection: the operating system caches the file as well
            "temp_store=MEMORY",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "invalidate")
    def invalidated(connection: Any, _record: Any, _error: Any) -> None:
        # Cancelled within a statement. Closing alone does not unlock the file: SQLite waits for the statement's cursor, which
        # lives as long as the traceback. Queued here, the rollback comes before the close.
        rollback = asyncio.ensure_future(connection.driver_connection.rollback())
        _rollbacks.add(rollback)
        rollback.add_done_callback(_rolled_back)

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Any) -> None:
        # A reader that begins to write fails at once if another wrote in between; a writer from the start waits its turn,
        # also for one that was cancelled and whose connection is still busy.
        writes = connection.get_execution_options().get(WRITES)
        connection.execute(text("BEGIN IMMEDIATE" if writes else "BEGIN"))

    return engine
