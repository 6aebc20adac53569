"""The ledger's tables. Portable between SQLite and PostgreSQL; ids are given out by the one writer, not by the database.

A job's plan: items → chunks → tasks. A call carries one or more tasks; trying again is a new call that names the one before, so
the chain of `previous` tells a task's whole history. Model calls of a reduce step are tasks like any other (stage REDUCE), whose
unit is a node of the step's tree.
"""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 1


class Stage(IntEnum):
    """What a task is for."""

    MAP = 0
    REDUCE = 1


class Settled(IntEnum):
    """How far a task or a chunk is."""

    OPEN = 0
    SUCCEEDED = 1
    FAILED = 2
    SKIPPED = 3


class CallState(IntEnum):
    """How far a call is. READY and LEASED are live; the others are history."""

    READY = 0
    LEASED = 1
    ANSWERED = 2
    LOST = 3
    CANCELLED = 4


metadata = MetaData()

ledger = Table(
    "ledger",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # raised by whoever takes the ledger; checked in every write
)

jobs = Table(
    "jobs",
    metadata,
    Column("job", Integer, primary_key=True, autoincrement=False),
    Column("uid", Text, nullable=False, unique=True),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("spec", Text, nullable=False),  # JSON
    Column("systems", Text, nullable=False, default="[]"),  # JSON: the branches' rendered system messages
    Column("items", BigInteger, nullable=False, default=0),  # planned so far: where a resumed planning goes on
    Column("input_digest", LargeBinary, nullable=False, default=b""),  # of those items, chained
    Column("planned", Boolean, nullable=False, default=False),
    Column("stop_reason", Text),  # set when the job stops before all is answered; JSON {reason, message}
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("ending", Text),  # JSON {reason, message}
    Column("dropped", BigInteger, nullable=False, default=0),  # answers that came second
)

items = Table(
    "items",
    metadata,
    Column("job", Integer, nullable=False),
    Column("item", BigInteger, nullable=False),  # position, from 0
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("fields", LargeBinary),  # packed JSON object; NULL: none
    Column("chunks", Integer, nullable=False),
    PrimaryKeyConstraint("job", "item"),
    UniqueConstraint("job", "id"),
    sqlite_with_rowid=False,
)

chunks = Table(
    "chunks",
    metadata,
    Column("job", Integer, nullable=False),
    Column("chunk", BigInteger, nullable=False),  # position in the job, from 0: the order of all outputs
    Column("item", BigInteger, nullable=False),
    Column("idx", Integer, nullable=False),  # position in the item
    Column("title", Text, nullable=False),
    Column("text", LargeBinary),  # packed; NULL: could not be read
    Column("tokens", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),
    Column("error", Text),  # JSON; where no task of its own tells it
    PrimaryKeyConstraint("job", "chunk"),
    sqlite_with_rowid=False,
)

tasks = Table(
    "tasks",
    metadata,
    Column("job", Integer, nullable=False),
    Column("task", BigInteger, nullable=False),
    Column("stage", SmallInteger, nullable=False),
    Column("unit", BigInteger, nullable=False),  # MAP: the chunk; REDUCE: the node
    Column("branch", Integer, nullable=False),  # MAP: the branch; REDUCE: the step
    Column("sample", Integer, nullable=False),
    Column("request", LargeBinary, nullable=False),  # packed JSON: the rendered request, without what all tasks share
    Column("weight", Integer, nullable=False),  # estimated input tokens
    Column("digest", LargeBinary),  # equal: the same request
    Column("same_as", BigInteger),  # the task whose answer this one shares
    Column("state", SmallInteger, nullable=False),
    Column("value", LargeBinary),  # packed; JSON, or a vector as little-endian float32
    Column("error", Text),  # JSON
    Column("call", BigInteger),  # the call it was planned into, then the one that settled it; NULL: in no call yet
    Column("endpoint", Text),
    Column("attempts", Integer, nullable=False, default=0),
    Column("latency_ms", Integer),
    Column("finish_reason", Text),
    Column("input_tokens", BigInteger, nullable=False, default=0),  # its share of the call
    Column("output_tokens", BigInteger, nullable=False, default=0),
    Column("cost", BigInteger, nullable=False, default=0),  # in 10^-12 of the currency's unit
    PrimaryKeyConstraint("job", "task"),
    sqlite_with_rowid=False,
)
Index("tasks_by_unit", tasks.c.job, tasks.c.stage, tasks.c.unit)
Index(
    "tasks_by_digest",
    tasks.c.job,
    tasks.c.digest,
    sqlite_where=tasks.c.same_as.is_(None),
    postgresql_where=tasks.c.same_as.is_(None),
)
Index(
    "tasks_sharing",
    tasks.c.job,
    tasks.c.same_as,
    sqlite_where=tasks.c.same_as.is_not(None),
    postgresql_where=tasks.c.same_as.is_not(None),
)

calls = Table(
    "calls",
    metadata,
    Column("call", BigInteger, primary_key=True, autoincrement=False),
    Column("job", Integer, nullable=False),
    Column("lane", Integer, nullable=False),  # the branch, or after the branches the reduce step: a list of endpoints
    Column("tasks", LargeBinary, nullable=False),  # msgpack: ids, in the order of the request
    Column("state", SmallInteger, nullable=False),
    Column("rank", Integer, nullable=False),  # orders the queue: highest first (estimated tokens, or 0 for input order)
    Column("not_before", Float, nullable=False, default=0.0),  # Unix time
    Column("turn", Integer, nullable=False, default=0),  # index of the endpoint to prefer
    Column("previous", BigInteger),  # the call this one tries again
    Column("why", Text, nullable=False, default="First"),  # First, Retry, Failover, Throttled, Repair, Split, Redone
    Column("repair", LargeBinary),  # packed JSON {text, fault}: the answer to be mended
    Column("repaired", Boolean, nullable=False, default=False),  # asked again already
    Column("attempts", Integer, nullable=False, default=0),  # of the chain, up to and with this one once answered
    Column("failures", Integer, nullable=False, default=0),  # of these, what counts against the retry limit
    Column("throttles", Integer, nullable=False, default=0),  # in a row
    Column(
        "faults", Integer, nullable=False, default=0
    ),  # endpoints that will never take it: a bit for each position in the lane
    Column("endpoint", Text),
    Column("leased_at", Float),
    Column("outcome", Text),
    Column("sent", Boolean, nullable=False, default=False),  # it got as far as the model
    Column("http_status", Integer),
    Column("request_id", Text),
    Column("error", Text),
    Column("latency_ms", Integer),
    Column("input_tokens", BigInteger, nullable=False, default=0),
    Column("cached_input_tokens", BigInteger, nullable=False, default=0),
    Column("output_tokens", BigInteger, nullable=False, default=0),
    Column("estimated_tokens", BigInteger, nullable=False, default=0),  # where the server did not tell
    Column("cost", BigInteger, nullable=False, default=0),
)
Index(
    "calls_ready",
    calls.c.job,
    calls.c.lane,
    calls.c.rank.desc(),
    calls.c.call,
    sqlite_where=calls.c.state == CallState.READY,
    postgresql_where=calls.c.state == CallState.READY,
)
Index(
    "calls_leased",
    calls.c.job,
    sqlite_where=calls.c.state == CallState.LEASED,
    postgresql_where=calls.c.state == CallState.LEASED,
)

nodes = Table(
    "nodes",
    metadata,
    Column("job", Integer, nullable=False),
    Column("node", BigInteger, nullable=False),
    Column("level", Integer, nullable=False),  # 1 is next to the chunks
    Column("position", BigInteger, nullable=False),  # the group's number in its level
    Column("part", Integer, nullable=False),  # a group that needs several calls has several nodes
    Column("parts", Integer, nullable=False),  # inputs of this node
    PrimaryKeyConstraint("job", "node"),
    UniqueConstraint("job", "level", "position", "part"),
    sqlite_with_rowid=False,
)
