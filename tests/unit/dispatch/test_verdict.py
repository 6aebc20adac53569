"""What becomes of a call's tasks: a table of outcomes, and what must hold for all of them."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.broker.messages import Answer, ResultMessage
from fanout.broker.outcome import ENDPOINT_FAULTS, HANDED_BACK, THROTTLED, TRANSIENT, Outcome
from fanout.dispatch.lane import Lane
from fanout.dispatch.verdict import HALVED, Repair, judge
from fanout.ledger.blobs import unpack
from fanout.ledger.calls import Call
from fanout.ledger.schema import CallState, Stage

REFUSALS = sorted(set(Outcome) - {Outcome.SUCCEEDED})
ANSWERS = [Outcome.SUCCEEDED, Outcome.BAD_OUTPUT, Outcome.TRUNCATED, Outcome.CONTENT_FILTERED]


def make_call(tasks=(7,), **changes):
    call = Call(
        call=1, job=1, lane=0, tasks=list(tasks), state=CallState.LEASED, rank=10, not_before=0.0, turn=0, repair=None,
        repaired=False, attempts=0, failures=0, throttles=0, faults=0, endpoint="e0", previous=None, why="First",
        estimated_tokens=0,
    )  # fmt: skip
    return call._replace(**changes)


def make_lane(endpoints=1, retry_limit=5, **changes):
    values = {
        "index": 0,
        "stage": Stage.MAP,
        "endpoints": tuple(f"e{i}" for i in range(endpoints)),
        "timeout_seconds": 10.0,
        "retry_limit": retry_limit,
        "max_backoff_seconds": 60.0,
        "assemble": None,
    }
    return Lane(**(values | changes))


def make_result(outcome, answers=(), *, sent=True, error="it broke"):
    return ResultMessage(
        epoch=1, call=1, endpoint="e0", worker="w", outcome=outcome, answers=list(answers), sent=sent, error=error
    )


def decide(call, result, lane, still_open=None):
    return judge(call, result, lane, call.tasks if still_open is None else still_open, Random(1))


# One row per outcome: a single task, one endpoint or two, retries left or none.
#   outcome, endpoints, failures so far (of 2) → why it is made again (None: settled)
TABLE = [
    (Outcome.RATE_LIMITED, 1, 2, "Throttled"),
    (Outcome.OVERLOADED, 1, 2, "Throttled"),
    (Outcome.SERVER_ERROR, 1, 0, "Retry"),
    (Outcome.SERVER_ERROR, 2, 0, "Failover"),
    (Outcome.SERVER_ERROR, 1, 2, None),
    (Outcome.SERVER_ERROR, 2, 2, None),
    (Outcome.TIMEOUT, 1, 1, "Retry"),
    (Outcome.TIMEOUT, 1, 2, None),
    (Outcome.CONNECTION_FAILED, 1, 1, "Retry"),
    (Outcome.CONNECTION_FAILED, 2, 1, "Failover"),
    (Outcome.CONNECTION_FAILED, 1, 2, None),
    (Outcome.BAD_REQUEST, 2, 0, None),
    (Outcome.UNAUTHORIZED, 1, 0, None),
    (Outcome.UNAUTHORIZED, 2, 0, "Failover"),
    (Outcome.NOT_FOUND, 1, 0, None),
    (Outcome.NOT_FOUND, 2, 2, "Failover"),
    (Outcome.CONTEXT_TOO_LONG, 1, 0, None),
    (Outcome.CONTEXT_TOO_LONG, 2, 0, "Failover"),
    (Outcome.CONTENT_FILTERED, 2, 0, None),
    (Outcome.TRUNCATED, 2, 0, None),
    (Outcome.BAD_OUTPUT, 1, 0, None),
    (Outcome.CANCELLED, 1, 2, "Redone"),
    (Outcome.NOT_STARTED, 1, 2, "Redone"),
    (Outcome.LOST, 1, 0, "Retry"),
    (Outcome.LOST, 1, 2, None),
]


@pytest.mark.parametrize(("outcome", "endpoints", "failures", "why"), TABLE)
def test_each_outcome_of_a_single_task(outcome, endpoints, failures, why):
    call = make_call(failures=failures, attempts=failures)
    verdict = decide(call, make_result(outcome), make_lane(endpoints, retry_limit=2))
    if why is None:
        ((task, answer),) = verdict.settled
        assert (task, answer.outcome, answer.fault) == (7, outcome, "it broke")
        assert not verdict.again
    else:
        (again,) = verdict.again
        assert (again.tasks, again.why) == ([7], why)
        assert not verdict.settled


def test_the_table_knows_every_refusal():
    assert {row[0] for row in TABLE} == set(REFUSALS)


def test_an_answer_settles_its_task():
    verdict = decide(make_call(), make_result(Outcome.SUCCEEDED, [Answer(value=b'"fine"')]), make_lane())
    assert verdict.settled == [(7, Answer(value=b'"fine"'))]
    assert verdict.attempts == 1


def test_a_bad_answer_is_asked_again_once_with_its_fault():
    bad = Answer(outcome=Outcome.BAD_OUTPUT, fault="no label", text='{"lable": 1}')
    verdict = decide(make_call(), make_result(Outcome.SUCCEEDED, [bad]), make_lane())
    (again,) = verdict.again
    assert (again.why, again.repaired, again.delay) == ("Repair", True, 0.0)
    shown = msgspec.json.decode(unpack(again.repair), type=Repair)
    assert shown == Repair('{"lable": 1}', "no label")

    second = make_call(repaired=True, repair=again.repair, attempts=again.attempts)
    verdict = decide(second, make_result(Outcome.SUCCEEDED, [bad]), make_lane())
    assert verdict.settled == [(7, bad)]
    assert verdict.attempts == 2


def test_an_answer_missing_from_a_batch_goes_alone_and_the_others_keep_theirs():
    answers = [Answer(value=b"1"), Answer(outcome=Outcome.BAD_OUTPUT, fault="no item 2"), Answer(value=b"3")]
    verdict = decide(make_call([1, 2, 3]), make_result(Outcome.SUCCEEDED, answers), make_lane())
    assert [task for task, _ in verdict.settled] == [1, 3]
    (again,) = verdict.again
    assert (again.tasks, again.repair, again.repaired) == ([2], None, True)


@pytest.mark.parametrize("outcome", sorted(HALVED))
def test_a_poisoned_batch_is_halved_until_the_one_to_blame_is_alone(outcome):
    verdict = decide(make_call([1, 2, 3, 4, 5]), make_result(outcome), make_lane(2))
    assert [(again.tasks, again.why) for again in verdict.again] == [([1, 2, 3], "Split"), ([4, 5], "Split")]
    alone = decide(make_call([5], attempts=3), make_result(outcome), make_lane(1))
    assert [task for task, _ in alone.settled] == [5]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_worker_that_gives_too_few_or_too_many_answers_has_failed(count):
    verdict = decide(make_call([1, 2]), make_result(Outcome.SUCCEEDED, [Answer(value=b"1")] * count), make_lane())
    assert not verdict.settled
    assert [(again.tasks, again.why) for again in verdict.again] == [([1, 2], "Retry")]


def test_only_open_tasks_are_halved():
    verdict = decide(make_call([1, 2, 3, 4]), make_result(Outcome.TRUNCATED), make_lane(), still_open=[2, 4])
    assert [again.tasks for again in verdict.again] == [[2], [4]]


def test_a_refusals_body_is_kept_where_the_lane_wants_it():
    result = make_result(Outcome.BAD_REQUEST, [Answer(outcome=Outcome.BAD_REQUEST, value=b'{"error": 1}')])
    kept = decide(make_call(), result, make_lane(keeps_refusals=True))
    assert kept.settled[0][1].value == b'{"error": 1}'
    assert decide(make_call(), result, make_lane()).settled[0][1].value == b""


def test_a_repair_survives_a_retry():
    call = make_call(repair=b"\x00{}", repaired=True)
    (again,) = decide(call, make_result(Outcome.TIMEOUT), make_lane()).again
    assert (again.repair, again.repaired) == (b"\x00{}", True)


def test_failover_goes_on_from_where_the_call_was_and_not_from_where_it_should_have_been():
    # e0 was throttled, so the call went to e1 and failed there: e0 is next, not e1 again.
    verdict = decide(make_call(turn=0, endpoint="e1"), make_result(Outcome.TIMEOUT), make_lane(2))
    assert verdict.again[0].turn % 2 == 0


@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_failover_tries_each_endpoint_once_whatever_detours_throttling_forces(endpoints, random):
    lane, call, tried = make_lane(endpoints, retry_limit=3), make_call(), []
    outcomes = sorted(ENDPOINT_FAULTS)
    while True:
        turns = lane.turns(call)
        assert turns, "made again with no endpoint left"
        here = random.choice(turns) if random.random() < 0.5 else turns[0]  # the first one may be throttled
        tried.append(here)
        verdict = decide(call._replace(endpoint=f"e{here}"), make_result(random.choice(outcomes)), lane)
        if verdict.settled:
            break
        (again,) = verdict.again
        call = call._replace(turn=again.turn, faults=again.faults, failures=again.failures)
    assert sorted(tried) == list(range(endpoints))
    assert call.failures == 0


@st.composite
def situations(draw):
    tasks = draw(st.lists(st.integers(0, 99), min_size=1, max_size=8, unique=True))
    endpoints = draw(st.integers(1, 4))
    limit = draw(st.integers(0, 3))
    here = draw(st.integers(0, endpoints - 1))
    call = make_call(
        tasks,
        attempts=draw(st.integers(0, 9)),
        failures=draw(st.integers(0, limit)),
        throttles=draw(st.integers(0, 9)),
        faults=draw(st.integers(0, 2**endpoints - 1)) & ~(1 << here),
        turn=draw(st.integers(0, 9)),
        endpoint=f"e{here}",
        repaired=draw(st.booleans()),
    )
    outcome = draw(st.sampled_from(sorted(Outcome)))
    answers = []
    if outcome == Outcome.SUCCEEDED:
        each = st.builds(Answer, outcome=st.sampled_from(ANSWERS), text=st.sampled_from(["", "x"]))
        answers = draw(st.lists(each, min_size=len(tasks), max_size=len(tasks)))
    result = make_result(outcome, answers, sent=draw(st.booleans()))
    still_open = [task for task in tasks if draw(st.booleans())]
    return call, result, make_lane(endpoints, limit), still_open


@given(situations())
def test_what_holds_whatever_happens(situation):
    call, result, lane, still_open = situation
    verdict = judge(call, result, lane, still_open, Random(2))
    placed = [task for task, _ in verdict.settled] + [task for again in verdict.again for task in again.tasks]
    assert sorted(placed) == sorted(still_open), "every open task comes out exactly once"
    assert all(again.tasks for again in verdict.again)

    counts = result.sent and result.outcome not in THROTTLED
    assert verdict.attempts == call.attempts + counts
    for again in verdict.again:
        assert again.attempts == verdict.attempts
        assert again.failures <= lane.retry_limit
        assert call.failures <= again.failures <= call.failures + 1
        assert 0 <= again.delay <= lane.max_backoff_seconds
        assert again.repaired or not call.repaired, "asked again once is asked again once"
        assert again.faults.bit_count() < len(lane.endpoints), "some endpoint is left to try"
        if result.outcome not in TRANSIENT | {Outcome.LOST}:
            assert again.failures == call.failures
        if result.outcome in THROTTLED:
            assert (again.failures, again.faults, again.delay) == (call.failures, call.faults, 0.0)
            assert again.throttles == call.throttles + 1
        if result.outcome in HANDED_BACK - {Outcome.LOST}:
            assert (again.turn, again.faults) == (call.turn, call.faults)
        if again.why == "Repair":
            assert not call.repaired
            assert len(again.tasks) == 1
