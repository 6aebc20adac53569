"""What the planner stores, and finds again."""

import pytest
from ledger_rows import chunk_row, item_row, make_job, make_plan, planned_call, task_row
from sqlalchemy.exc import IntegrityError

from fanout.ledger import calls, jobs, plan, settle
from fanout.ledger.jobs import Ending
from fanout.ledger.schema import Settled, Stage
from fanout.ledger.settle import TaskOutcome


async def test_jobs_are_numbered_and_found_by_uid(ledger):
    async with ledger.write() as connection:
        assert [await make_job(connection, name) for name in ("a", "b")] == [1, 2]
        found = await jobs.find(connection, "default/b")
        assert (found.job, found.name, found.namespace, found.systems) == (2, "b", "default", ["Be brief."])
        assert (found.items, found.input_digest, found.planned, found.stop, found.ending) == (0, b"", False, None, None)
        assert await jobs.find(connection, "default/c") is None


async def test_two_jobs_of_one_uid_are_refused(ledger):
    with pytest.raises(IntegrityError):
        async with ledger.write() as connection:
            await make_job(connection)
            await make_job(connection)


async def test_a_jobs_way_is_kept(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await jobs.set_cursor(connection, job, 7, b"digest")
        await jobs.set_spec(connection, job, '{"map": 1}')
        await jobs.set_planned(connection, job)
        await jobs.set_stop(connection, job, Ending("Partial", "enough – „genug“"))
        await jobs.count_dropped(connection, {job: 2})
        await jobs.count_dropped(connection, {job: 3})
        finished = await jobs.finish(connection, job, Ending("Succeeded", "7 of 7"))
    async with ledger.read() as connection:
        found = await jobs.find(connection, "default/job")
    assert (found.items, found.input_digest, found.spec, found.planned) == (7, b"digest", '{"map": 1}', True)
    assert (found.stop, found.ending) == (Ending("Partial", "enough – „genug“"), Ending("Succeeded", "7 of 7"))
    assert (found.finished_at, found.dropped) == (finished, 5)


async def test_a_plan_of_many_rows_at_once(ledger):
    count = 2500  # more than one look-up's worth
    async with ledger.write() as connection:
        job = await make_plan(connection, count)
    async with ledger.read() as connection:
        assert await plan.next_chunk(connection, job) == count
        assert await settle.chunk_states(connection, job) == {Settled.OPEN: count}
        assert len(await settle.get(connection, job, list(range(count)))) == count
        assert len(await calls.get(connection, list(range(count)))) == count


async def test_nothing_planned_yet(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await plan.insert_items(connection, [])
        await plan.insert_chunks(connection, [])
        await plan.insert_tasks(connection, [])
        await plan.insert_calls(connection, [])
        assert await plan.next_chunk(connection, job) == 0
        assert await plan.item_at(connection, job, 0) is None
        assert await plan.uncarried(connection, job) == []


async def test_ids_that_are_taken(ledger):
    async with ledger.write() as connection:
        job, other = await make_job(connection), await make_job(connection, "other")
        await plan.insert_items(connection, [item_row(job, i) for i in range(1200)])
        await plan.insert_items(connection, [item_row(other, 0, id="only-there")])
        asked = ["id-3", "id-1199", "id-1200", "only-there"] + [f"free-{i}" for i in range(1000)]
        assert await plan.taken_ids(connection, job, asked) == {"id-3": 3, "id-1199": 1199}


async def test_an_id_twice_in_a_job_is_refused(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await plan.insert_items(connection, [item_row(job, 0)])
    with pytest.raises(IntegrityError):
        async with ledger.write() as connection:
            await plan.insert_items(connection, [item_row(job, 1, id="id-0")])


async def test_a_large_items_chunks_come_in_several_batches(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await plan.insert_items(connection, [item_row(job, 0, chunks=2)])
        await plan.add_item_chunks(connection, job, 0, 3)
        assert await plan.item_at(connection, job, 0) == ("id-0", 5)


async def test_requests_are_found_by_their_digest(ledger):
    async with ledger.write() as connection:
        job, other = await make_job(connection), await make_job(connection, "other")
        rows = [
            task_row(job, 0, digest=b"open"),
            task_row(job, 1, digest=b"done"),
            task_row(job, 2, digest=b"done", same_as=1),
            task_row(job, 3, digest=b"given up"),
            task_row(other, 4, digest=b"elsewhere"),
        ]
        await plan.insert_tasks(connection, rows)
        await settle.settle(connection, job, [TaskOutcome(1, Settled.FAILED), TaskOutcome(3, Settled.SKIPPED)])
        asked = [b"open", b"done", b"given up", b"elsewhere", *(b"%d" % i for i in range(1000))]
        found = await plan.tasks_by_digest(connection, job, asked)
        # What was given up has no answer to share: the next one like it is made.
        assert found == {b"open": (0, False), b"done": (1, True)}


async def test_tasks_without_a_call_are_found_until_one_carries_them(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        rows = [
            task_row(job, 0, call=0),
            task_row(job, 1, branch=1, sample=2, weight=33),
            task_row(job, 2),
            task_row(job, 3, same_as=2),
            task_row(job, 4, stage=Stage.REDUCE),
            task_row(job, 5, state=Settled.SKIPPED),
        ]
        await plan.insert_tasks(connection, rows)
        assert sorted(await plan.uncarried(connection, job)) == [(1, 1, 2, 33), (2, 0, 0, 10)]
        await plan.insert_calls(connection, [planned_call(job, 9, [1, 2])])
        await plan.carry(connection, job, [(1, 9), (2, 9)])
        assert await plan.uncarried(connection, job) == []


async def test_large_positions_and_texts_are_kept(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        far = 2**40
        await plan.insert_items(connection, [item_row(job, far, id="ü" * 500)])
        await plan.insert_chunks(connection, [chunk_row(job, far, item=far, text=b"x" * 3_000_000)])
        assert await plan.next_chunk(connection, job) == far + 1
        assert await plan.taken_ids(connection, job, ["ü" * 500]) == {"ü" * 500: far}
