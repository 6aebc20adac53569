"""Reading back: pages in input order, totals, percentiles, nodes of a synthesis."""

import pytest
from ledger_rows import chunk_row, item_row, make_job, make_plan, planned_call, task_row

from fanout.ledger import calls, jobs, nodes, plan, results, settle
from fanout.ledger.blobs import pack
from fanout.ledger.calls import Sent
from fanout.ledger.schema import CallState, Settled, Stage
from fanout.ledger.settle import TaskOutcome

NOW = 1_700_000_000.0


async def read(ledger, job, **filters):
    """[(chunk row, its answers)] and the sizes of the pages they came in."""
    found, sizes = [], []
    async for rows, answers in results.pages(ledger, job, **filters):
        found += [(row, answers.get(row.chunk, [])) for row in rows]
        sizes.append(len(rows))
    return found, sizes


async def test_pages_come_in_input_order_whatever_the_order_of_results(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 1101)
        for task in (700, 3, 1100):
            await settle.settle(connection, job, [TaskOutcome(task, Settled.SUCCEEDED, pack(b"%d" % task))])
            await settle.settle_chunks(connection, job, [(task, Settled.SUCCEEDED)])
    found, sizes = await read(ledger, job)
    assert [row.chunk for row, _ in found] == list(range(1101))
    assert sizes == [500, 500, 101]
    assert all(len(answers) == 1 for _, answers in found)
    row, (answer,) = found[700]
    assert (row.id, row.name, row.title, row.idx, row.state) == ("id-700", "f.jsonl", "title 700", 0, Settled.SUCCEEDED)
    assert (answer.value, answer.state) == (pack(b"700"), Settled.SUCCEEDED)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"state": Settled.SUCCEEDED}, [1, 3]),
        ({"state": Settled.FAILED}, [4]),
        ({"first": 2, "last": 4}, [2, 3, 4]),
        ({"first": 4}, [4, 5]),
        ({"last": 0}, [0]),
        ({"state": Settled.SUCCEEDED, "first": 2, "last": 4}, [3]),
        ({"first": 6}, []),
    ],
)
async def test_filters(ledger, filters, expected):
    async with ledger.write() as connection:
        job = await make_plan(connection, 6)
        await make_plan(connection, 0, name="other")
        settled = [(1, Settled.SUCCEEDED), (3, Settled.SUCCEEDED), (4, Settled.FAILED)]
        await settle.settle_chunks(connection, job, settled)
    found, _ = await read(ledger, job, **filters)
    assert [row.chunk for row, _ in found] == expected


async def test_answers_come_with_their_call_in_the_order_of_branches_and_samples(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await plan.insert_items(connection, [item_row(job, 0, fields=pack(b"{}"), chunks=2)])
        rows = [chunk_row(job, 0), chunk_row(job, 1, item=0, idx=1, state=Settled.FAILED, error="{}")]
        await plan.insert_chunks(connection, rows)
        tasks = [
            task_row(job, 0, unit=0, branch=1),
            task_row(job, 1, unit=0, branch=0, sample=1),
            task_row(job, 2, unit=0, branch=0, sample=0),
            task_row(job, 3, unit=0, stage=Stage.REDUCE),
        ]
        await plan.insert_tasks(connection, tasks)
        await plan.insert_calls(connection, [planned_call(job, 5, [0])])
        await calls.set_answered(connection, [answered(5, request_id="r-5", http_status=200)])
        await settle.settle(connection, job, [TaskOutcome(0, Settled.SUCCEEDED, pack(b"1"), call=5, cost=2**45)])
    found, _ = await read(ledger, job)
    (first, answers), (second, none) = found
    assert [(a.branch, a.sample) for a in answers] == [(0, 0), (0, 1), (1, 0)]
    assert (answers[2].request_id, answers[2].http_status, answers[2].cost) == ("r-5", 200, 2**45)
    assert answers[0].request_id is None
    assert (first.chunks, first.fields, second.idx, second.error, none) == (2, pack(b"{}"), 1, "{}", [])


def answered(call, **changes):
    row = {
        "call": call, "state": CallState.ANSWERED, "outcome": "Succeeded", "sent": True, "http_status": None,
        "request_id": None, "error": None, "latency_ms": 10, "attempts": 1, "input_tokens": 100,
        "cached_input_tokens": 10, "output_tokens": 5, "estimated_tokens": 0, "cost": 2**40,
    }  # fmt: skip
    return row | changes


async def test_totals_of_calls(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 6)
        await calls.lease(connection, [Sent(3, [3], "small", "Retry")], NOW)
        rows = [
            answered(0),
            answered(1),
            answered(2, outcome="RateLimited", cost=0, input_tokens=0),
            answered(3, state=CallState.LOST, outcome="Lost", estimated_tokens=44),
            answered(4, state=CallState.CANCELLED, outcome="Cancelled", sent=False),
        ]
        await calls.set_answered(connection, rows)
        totals = await results.call_totals(connection, job)
    found = {(row.sent, row.why, row.outcome): (row.calls, int(row.cost), int(row.input_tokens)) for row in totals}
    assert found == {
        (True, "First", "Succeeded"): (2, 2**41, 200),
        (True, "First", "RateLimited"): (1, 0, 0),
        (True, "Retry", "Lost"): (1, 2**40, 100),
        (False, "First", "Cancelled"): (1, 2**40, 100),
    }
    assert sum(int(row.estimated_tokens) for row in totals) == 44


async def test_tasks_that_share_and_answers_that_came_second(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await plan.insert_tasks(
            connection, [task_row(job, 0), task_row(job, 1, same_as=0), task_row(job, 2, same_as=0)]
        )
        await jobs.count_dropped(connection, {job: 4})
        assert await results.deduplicated(connection, job) == 2
        assert await results.dropped(connection, job) == 4
        assert await results.deduplicated(connection, 99) == 0
        assert await results.dropped(connection, 99) == 0


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, [0, 0, 0]), (1, [10, 10, 10]), (4, [20, 40, 40]), (100, [500, 950, 990]), (101, [510, 960, 1000])],
)
async def test_percentiles_are_exact_by_nearest_rank(ledger, count, expected):
    async with ledger.write() as connection:
        job = await make_plan(connection, count + 1)
        rows = [answered(i, latency_ms=10 * (count - i)) for i in range(count)]
        await calls.set_answered(connection, [*rows, answered(count, outcome="Timeout", latency_ms=99_999)])
        assert await results.latency_percentiles(connection, job, [50, 95, 99]) == expected


def node_row(job, node, level, position, part=0):
    return {
        "job": job, "node": node, "level": level,
        "position": position, "part": part, "parts": 5,
    }  # fmt: skip


async def test_nodes_and_what_became_of_their_tasks(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await nodes.insert_nodes(connection, [])
        rows = [node_row(job, 0, 1, 1), node_row(job, 1, 1, 0, part=1), node_row(job, 2, 1, 0), node_row(job, 3, 2, 0)]
        await nodes.insert_nodes(connection, rows)
        await plan.insert_tasks(connection, [task_row(job, 10 + n, stage=Stage.REDUCE, unit=n) for n in range(4)])
        # A map task of the same unit is no node's.
        await plan.insert_tasks(connection, [task_row(job, 0, unit=0, state=Settled.FAILED)])
        await settle.settle(connection, job, [TaskOutcome(10, Settled.SUCCEEDED, pack(b'"text"'))])
        assert await nodes.load(connection, job) == [
            (0, 1, 1, 0, Settled.SUCCEEDED),
            (1, 1, 0, 1, Settled.OPEN),
            (2, 1, 0, 0, Settled.OPEN),
            (3, 2, 0, 0, Settled.OPEN),
        ]
        outputs = await nodes.outputs(connection, job, 1, 0, 4)
        assert [row.node for row in outputs] == [2, 1, 0]
        assert outputs[2].value == pack(b'"text"')
        assert [row.node for row in await nodes.outputs(connection, job, 1, 1, 1)] == [0]
        assert await nodes.load(connection, 99) == []


async def test_settled_chunks_are_counted_by_runs(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 13)
        settled = [(i, Settled.SUCCEEDED) for i in range(5)] + [(6, Settled.FAILED), (9, Settled.SKIPPED)]
        await settle.settle_chunks(connection, job, [*settled, (12, Settled.SUCCEEDED)])
        assert await nodes.settled_chunks(connection, job, 5) == {0: 5, 1: 2, 2: 1}
