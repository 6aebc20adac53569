"""combine by First."""

import pytest

from fanout.fanin.answers import Answered
from fanout.fanin.combine.first import CombineFirst
from fanout.ledger.schema import Settled, Stage
from fanout.ledger.settle import Task

OPEN, OK, BAD, SKIPPED = Settled.OPEN, Settled.SUCCEEDED, Settled.FAILED, Settled.SKIPPED


def make_answer(branch, value, state):
    return Answered(
        branch=branch, sample=0, state=state, value=value, is_vector=False, error=None, endpoint="e", attempts=1,
        latency_ms=1, finish_reason=None, input_tokens=0, output_tokens=0, cost=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("states", "settled"),
    [
        ([OPEN, OPEN], None),
        ([BAD, OPEN], None),
        ([OPEN, OK], OK),
        ([BAD, OK], OK),
        ([OK, SKIPPED], OK),
        ([BAD, BAD], BAD),
        ([BAD, SKIPPED], BAD),
    ],
)
def test_the_first_success_settles_the_chunk_and_only_the_last_failure_fails_it(states, settled):
    tasks = [Task(i, Stage.MAP, 0, i, 0, 1, state, 0) for i, state in enumerate(states)]
    assert CombineFirst().settle(tasks) == settled


def test_the_value_is_the_success():
    answers = [make_answer("a", b'{"error": 1}', BAD), make_answer("b", b'"yes"', OK), make_answer("c", None, SKIPPED)]
    assert bytes(CombineFirst().value(answers)) == b'"yes"'


def test_of_two_that_succeeded_the_first_in_order_is_taken_each_time():
    assert bytes(CombineFirst().value([make_answer("a", b"1", OK), make_answer("b", b"2", OK)])) == b"1"
