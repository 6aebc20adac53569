"""What SQLite's query planner should take for granted: jobs are large.

Without statistics it assumes that a job has ten rows, and reads all tasks of a job to find two by their digest. ANALYZE would tell
it better, but only once the rows are there; the first million is planned before that. So the numbers are given at the start, in the
table that ANALYZE writes (SQLite, "The sqlite_stat1 table"): the index's rows, then how many rows share the first column, the first
two, and so on. PostgreSQL gathers its own.
"""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

MILLION = 1_000_000
# A table without rowid is its own primary key's index.
STATISTICS = (
    ("tasks", "tasks", (MILLION, MILLION, 1)),
    ("tasks", "tasks_by_digest", (MILLION, MILLION, 1)),
    ("tasks", "tasks_sharing", (MILLION, MILLION, 2)),
    ("tasks", "tasks_by_unit", (MILLION, MILLION, MILLION, 1)),
    ("chunks", "chunks", (MILLION, MILLION, 1)),
    ("items", "items", (MILLION, MILLION, 1)),
    ("items", "sqlite_autoindex_items_2", (MILLION, MILLION, 1)),
    ("calls", "calls_ready", (MILLION, MILLION, MILLION, 1000, 1)),
    ("calls", "calls_leased", (1000, 1000)),
)


async def give_statistics(connection: AsyncConnection) -> None:
    """Tell SQLite how large the tables get. Connections opened later read it by themselves."""
    await connection.execute(text("ANALYZE"))  # makes the table
    await connection.execute(text("DELETE FROM sqlite_stat1"))
    await connection.execute(
        text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:table, :index, :rows)"),
        [{"table": table, "index": index, "rows": " ".join(map(str, rows))} for table, index, rows in STATISTICS],
    )
    await connection.execute(text("ANALYZE sqlite_schema"))  # and has it read
