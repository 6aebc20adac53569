"""Calls: ready, leased, answered, lost, cancelled, made again."""

from ledger_rows import make_job, make_plan, planned_call, task_row

from fanout.ledger import calls, plan, settle
from fanout.ledger.calls import Sent
from fanout.ledger.schema import CallState, Settled
from fanout.ledger.settle import TaskOutcome

NOW = 1_700_000_000.0


async def ready_ids(connection, job, lane=0, now=NOW, limit=100):
    return [call.call for call in await calls.ready(connection, job, lane, now=now, limit=limit)]


async def states(connection, ids):
    return [call.state for _, call in sorted((await calls.get(connection, ids)).items())]


async def test_the_heaviest_goes_first_and_equals_in_order(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        ranks = [5, 90, 5, 70]
        await plan.insert_calls(connection, [planned_call(job, i, [i], rank=rank) for i, rank in enumerate(ranks)])
        assert await ready_ids(connection, job) == [1, 3, 0, 2]
        assert await ready_ids(connection, job, limit=2) == [1, 3]


async def test_each_lane_and_job_has_its_own_queue(ledger):
    async with ledger.write() as connection:
        job, other = await make_job(connection), await make_job(connection, "other")
        await plan.insert_calls(connection, [planned_call(job, 0, [0]), planned_call(job, 1, [1], lane=1)])
        await plan.insert_calls(connection, [planned_call(other, 2, [2])])
        assert await ready_ids(connection, job) == [0]
        assert await ready_ids(connection, job, lane=1) == [1]
        assert await ready_ids(connection, other) == [2]


async def test_a_call_knows_its_tasks_in_their_order(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await plan.insert_calls(connection, [planned_call(job, 4, [9, 2**40, 3], rank=7)])
        (call,) = await calls.ready(connection, job, 0, now=NOW, limit=1)
    assert (call.tasks, call.rank, call.why, call.state) == ([9, 2**40, 3], 7, "First", CallState.READY)
    assert (call.attempts, call.failures, call.throttles, call.faults, call.turn) == (0, 0, 0, 0, 0)
    assert (call.repair, call.repaired, call.endpoint, call.previous) == (None, False, None, None)


async def make_again(ledger, connection, job, **changes):
    """A call that was leased, and the one that is made in its place."""
    await plan.insert_calls(connection, [planned_call(job, 0, [5, 6], rank=40)])
    await calls.lease(connection, [Sent(0, [5, 6], "small", "First")], NOW)
    (out,) = await calls.leased(connection, job)
    again = out._replace(**({"call": 1, "previous": 0, "why": "Retry"} | changes))
    await calls.insert_again(connection, [again])
    return (await calls.get(connection, [1]))[1]


async def test_a_call_made_again_carries_its_history(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        changes = {
            "tasks": [6], "rank": 20, "not_before": NOW + 3, "turn": 1, "why": "Split", "repair": b"\x00{}",
            "repaired": True, "attempts": 3, "failures": 2, "throttles": 4, "faults": 5,
        }  # fmt: skip
        again = await make_again(ledger, connection, job, **changes)
        assert {name: getattr(again, name) for name in changes} == changes
        assert (again.state, again.previous, again.endpoint) == (CallState.READY, 0, None)


async def test_a_call_that_has_to_wait_is_not_ready_before_its_time(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
        await make_again(ledger, connection, job, not_before=NOW + 3)
        assert await ready_ids(connection, job, now=NOW + 2.9) == []
        assert await ready_ids(connection, job, now=NOW + 3) == [1]


async def test_every_time_at_which_a_call_is_due_is_known(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 1)
        assert await calls.due(connection, job) == []
        template = (await calls.get(connection, [0]))[0]
        waiting = [template._replace(call=10 + i, not_before=NOW + i) for i in (3, 1, 2)]
        await calls.insert_again(connection, waiting)
        await calls.cancel(connection, [12])
        assert sorted(await calls.due(connection, job)) == [NOW + 1, NOW + 3]


async def test_a_lease_is_for_ready_calls_only(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 4)
        await calls.cancel(connection, [2])
        sent = [Sent(0, [0], "small", "First"), Sent(1, [], "backup", "Failover"), Sent(2, [2], "small", "First")]
        await calls.lease(connection, sent, NOW)
        assert await states(connection, [0, 1, 2, 3]) == [
            CallState.LEASED,
            CallState.LEASED,
            CallState.CANCELLED,
            CallState.READY,
        ]
        out = {call.call: call for call in await calls.leased(connection, job)}
        assert sorted(out) == [0, 1]
        assert (out[1].endpoint, out[1].why, out[1].tasks) == ("backup", "Failover", [])
        assert await ready_ids(connection, job) == [3]
        await calls.lease(connection, [], NOW)


async def test_requests_are_given_for_open_tasks_of_the_job(ledger):
    async with ledger.write() as connection:
        job, other = await make_job(connection), await make_job(connection, "other")
        rows = [task_row(job, i, request=b"\x00%d" % i, weight=i) for i in range(1200)]
        await plan.insert_tasks(connection, rows)
        await plan.insert_tasks(connection, [task_row(other, 5000)])
        await settle.settle(connection, job, [TaskOutcome(7, Settled.SUCCEEDED)])
        found = await calls.requests(connection, job, [*range(1200), 5000])
    assert len(found) == 1199
    assert found[8] == (b"\x008", 8)
    assert not found.keys() & {7, 5000}


async def test_answers_are_noted(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 2)
        await calls.lease(connection, [Sent(0, [0], "small", "First")], NOW)
        row = {
            "call": 0, "state": CallState.ANSWERED, "outcome": "Succeeded", "sent": True, "http_status": 200,
            "request_id": "r-1", "error": None, "latency_ms": 12, "attempts": 1, "input_tokens": 3,
            "cached_input_tokens": 2, "output_tokens": 1, "estimated_tokens": 77, "cost": 2**45,
        }  # fmt: skip
        await calls.set_answered(connection, [row])
        await calls.set_answered(connection, [])
        found = await calls.get(connection, [0, 1, 99])
        assert sorted(found) == [0, 1]
        assert (found[0].state, found[0].attempts, found[0].estimated_tokens) == (CallState.ANSWERED, 1, 77)
        assert found[1].state == CallState.READY
        assert await calls.leased(connection, job) == []


async def test_lost_calls_are_history(ledger):
    async with ledger.write() as connection:
        job = await make_plan(connection, 3)
        await calls.lease(connection, [Sent(i, [i], "small", "First") for i in range(3)], NOW)
        await calls.set_lost(connection, [(0, 11), (2, 22)])
        await calls.set_lost(connection, [])
        assert await states(connection, [0, 1, 2]) == [CallState.LOST, CallState.LEASED, CallState.LOST]
        assert [call.call for call in await calls.leased(connection, job)] == [1]
        lost = (await calls.get(connection, [2]))[2]
        assert (lost.attempts, lost.estimated_tokens) == (1, 22)


async def test_only_what_lives_is_cancelled(ledger):
    async with ledger.write() as connection:
        await make_plan(connection, 3)
        await calls.lease(connection, [Sent(0, [0], "small", "First"), Sent(1, [1], "small", "First")], NOW)
        await calls.set_lost(connection, [(1, 5)])
        await calls.cancel(connection, [0, 1, 2])
        assert await states(connection, [0, 1, 2]) == [CallState.CANCELLED, CallState.LOST, CallState.CANCELLED]


async def test_all_of_some_lanes_are_cancelled_and_those_in_flight_are_named(ledger):
    async with ledger.write() as connection:
        job, other = await make_job(connection), await make_job(connection, "other")
        planned = [planned_call(job, i, [i], lane=i // 2) for i in range(6)]
        await plan.insert_calls(connection, [*planned, planned_call(other, 6, [6])])
        await calls.lease(connection, [Sent(i, [i], f"e{i}", "First") for i in (0, 2, 4, 6)], NOW)
        in_flight = await calls.cancel_all(connection, job, below_lane=2)
        assert sorted(in_flight) == [(0, "e0"), (2, "e2")]
        cancelled, ready, leased = CallState.CANCELLED, CallState.READY, CallState.LEASED
        assert await states(connection, list(range(7))) == [cancelled] * 4 + [leased, ready, leased]
