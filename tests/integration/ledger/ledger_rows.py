"""Rows for the tests of the ledger: a job with chunks, tasks and calls, made in one line each."""

from sqlalchemy import select

from fanout.ledger import jobs, plan
from fanout.ledger.blobs import pack
from fanout.ledger.calls import encode_ids
from fanout.ledger.schema import Settled, Stage, tasks


async def make_job(connection, name="job"):
    record = await jobs.create(
        connection, uid=f"default/{name}", namespace="default", name=name, spec="{}", systems=["Be brief."]
    )
    return record.job


def item_row(job, item, **changes):
    return {"job": job, "item": item, "id": f"id-{item}", "name": "f.jsonl", "fields": None, "chunks": 1} | changes


def chunk_row(job, chunk, **changes):
    row = {
        "job": job, "chunk": chunk, "item": chunk, "idx": 0, "title": f"title {chunk}", "text": pack(b"text"),
        "tokens": 3, "state": Settled.OPEN, "error": None,
    }  # fmt: skip
    return row | changes


def task_row(job, task, **changes):
    row = {
        "job": job, "task": task, "stage": Stage.MAP, "unit": task, "branch": 0, "sample": 0,
        "request": pack(b'"prompt"'), "weight": 10, "digest": None, "same_as": None, "state": Settled.OPEN,
        "call": None,
    }  # fmt: skip
    return row | changes


def planned_call(job, call, tasks, *, rank=0, lane=0):
    return plan.PlannedCall(call, job, lane, encode_ids(tasks), rank)


async def make_plan(connection, count, *, name="job"):
    """A job of `count` items, each one chunk, one task and one call, all of the same number."""
    job = await make_job(connection, name)
    await plan.insert_items(connection, [item_row(job, i) for i in range(count)])
    await plan.insert_chunks(connection, [chunk_row(job, i) for i in range(count)])
    await plan.insert_tasks(connection, [task_row(job, i, call=i) for i in range(count)])
    await plan.insert_calls(connection, [planned_call(job, i, [i]) for i in range(count)])
    return job


async def values_of(connection, job, ids):
    """Packed values of these tasks."""
    query = select(tasks.c.task, tasks.c.value).where(tasks.c.job == job, tasks.c.task.in_(ids))
    return {row.task: row.value for row in await connection.execute(query)}
