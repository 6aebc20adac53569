"""Tasks and chunks get their one outcome."""

from ledger_rows import chunk_row, item_row, make_job, make_plan, task_row, values_of

from fanout.ledger import plan, settle
from fanout.ledger.blobs import pack
from fanout.ledger.schema import Settled, Stage
from fanout.ledger.settle import TaskOutcome


async def test_the_first_outcome_of_a_task_stays(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 2)
        first = TaskOutcome(
            task=0, state=Settled.SUCCEEDED, value=pack(b'"yes"'), call=0, endpoint="small", attempts=2,
            latency_ms=12, finish_reason="stop", input_tokens=3, output_tokens=4, cost=2**45,
        )  # fmt: skip
        await settle.settle(connection, job, [first])
        await settle.settle(
            connection, job, [TaskOutcome(0, Settled.FAILED, error="{}"), TaskOutcome(1, Settled.FAILED)]
        )
        await settle.settle(connection, job, [])
        found = await settle.get(connection, job, [0, 1, 99])
        assert {task: row.state for task, row in found.items()} == {0: Settled.SUCCEEDED, 1: Settled.FAILED}
        assert (found[0].attempts, found[0].weight, found[0].unit) == (2, 10, 0)
        assert await values_of(connection, job, [0, 1]) == {0: pack(b'"yes"'), 1: None}


async def test_jobs_do_not_mix(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 1)
        other = await make_job(connection, "other")
        await settle.settle(connection, other, [TaskOutcome(0, Settled.FAILED)])
        await settle.settle_chunks(connection, other, [(0, Settled.FAILED)])
        assert (await settle.get(connection, job, [0]))[0].state == Settled.OPEN
        assert await settle.chunk_states(connection, job) == {Settled.OPEN: 1}
        assert await settle.chunk_states(connection, other) == {}


async def test_followers_share_their_leaders_outcome_but_not_its_cost(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        rows = [
            task_row(job, 0),
            task_row(job, 1),
            task_row(job, 2, same_as=0, unit=20),
            task_row(job, 3, same_as=1),
            task_row(job, 4, same_as=0, state=Settled.SKIPPED),
            task_row(job, 5, same_as=9),
        ]
        await plan.insert_tasks(connection, rows)
        leader = TaskOutcome(
            0, Settled.SUCCEEDED, pack(b"1"), None, 7, "small", 2, 12, "stop", input_tokens=3, output_tokens=4, cost=5
        )
        await settle.settle(connection, job, [leader])
        shared = await settle.share(connection, job, [0])
        assert [(task.task, task.unit, task.state) for task in shared] == [(2, 20, Settled.SUCCEEDED)]
        assert await values_of(connection, job, [2, 4]) == {2: pack(b"1"), 4: None}
        await settle.settle(connection, job, [TaskOutcome(1, Settled.FAILED, error='{"reason": "Timeout"}')])
        assert [task.state for task in await settle.share(connection, job, [0, 1])] == [Settled.FAILED]
        assert await settle.share(connection, job, [0, 1]) == []
        states = {task: row.state for task, row in (await settle.get(connection, job, [2, 3, 4, 5])).items()}
        assert states == {2: Settled.SUCCEEDED, 3: Settled.FAILED, 4: Settled.SKIPPED, 5: Settled.OPEN}


async def test_sharing_among_more_than_one_look_ups_worth(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        count = 1100
        await plan.insert_tasks(connection, [task_row(job, i) for i in range(count)])
        await plan.insert_tasks(connection, [task_row(job, count + i, same_as=i) for i in range(count)])
        await settle.settle(connection, job, [TaskOutcome(i, Settled.SUCCEEDED, pack(b"%d" % i)) for i in range(count)])
        shared = await settle.share(connection, job, list(range(count)))
        assert sorted(task.task for task in shared) == list(range(count, 2 * count))
        assert (await values_of(connection, job, [count + 5]))[count + 5] == pack(b"5")


async def test_who_still_waits_for_a_task(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        rows = [task_row(job, 0), task_row(job, 1), task_row(job, 2, same_as=0), task_row(job, 3, same_as=1)]
        await plan.insert_tasks(connection, rows)
        await settle.settle(connection, job, [TaskOutcome(3, Settled.SKIPPED)])
        assert await settle.awaited(connection, job, [0, 1, 2]) == {0}
        assert await settle.awaited(connection, job, []) == set()


async def test_tasks_of_units_come_in_the_order_of_branches_and_samples(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        rows = [
            task_row(job, 3, unit=8, branch=1, sample=1),
            task_row(job, 4, unit=8, branch=1, sample=0),
            task_row(job, 5, unit=8, branch=0),
            task_row(job, 6, unit=9),
            task_row(job, 7, unit=8, stage=Stage.REDUCE),
        ]
        await plan.insert_tasks(connection, rows)
        found = await settle.of_units(connection, job, Stage.MAP, [8, 9, 10])
        assert {unit: [task.task for task in of] for unit, of in found.items()} == {8: [5, 4, 3], 9: [6]}
        assert [task.task for task in (await settle.of_units(connection, job, Stage.REDUCE, [8]))[8]] == [7]


async def test_chunks_close_once_and_none_is_ever_lost(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 6)
        await settle.settle_chunks(connection, job, [(0, Settled.SUCCEEDED), (1, Settled.FAILED)])
        await settle.settle_chunks(connection, job, [(0, Settled.FAILED), (1, Settled.SUCCEEDED)])
        await settle.settle_chunks(connection, job, [])
        assert await settle.open_chunks(connection, job, list(range(8))) == {2, 3, 4, 5}
        states = await settle.chunk_states(connection, job)
        assert states == {Settled.SUCCEEDED: 1, Settled.FAILED: 1, Settled.OPEN: 4}
        await settle.skip_open(connection, job, Stage.MAP)
        states = await settle.chunk_states(connection, job)
        assert states == {Settled.SUCCEEDED: 1, Settled.FAILED: 1, Settled.SKIPPED: 4}
        assert sum(states.values()) == 6
        assert sorted(await settle.skipped_chunks(connection, job)) == [2, 3, 4, 5]


async def test_giving_up_the_reduce_stage_leaves_chunks_and_map_tasks_alone(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await plan.insert_items(connection, [item_row(job, 0)])
        await plan.insert_chunks(connection, [chunk_row(job, 0)])
        await plan.insert_tasks(connection, [task_row(job, 0), task_row(job, 1, stage=Stage.REDUCE)])
        await settle.skip_open(connection, job, Stage.REDUCE)
        states = [row.state for _, row in sorted((await settle.get(connection, job, [0, 1])).items())]
        assert states == [Settled.OPEN, Settled.SKIPPED]
        assert await settle.chunk_states(connection, job) == {Settled.OPEN: 1}
