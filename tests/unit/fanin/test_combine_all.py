"""combine by All."""

import json
import struct

import pytest

from fanout.fanin.answers import Answered
from fanout.fanin.combine.all import CombineAll
from fanout.ledger.schema import Settled, Stage
from fanout.ledger.settle import Task

OPEN, OK, BAD, SKIPPED = Settled.OPEN, Settled.SUCCEEDED, Settled.FAILED, Settled.SKIPPED


def make_tasks(states):
    return [Task(i, Stage.MAP, 0, i, 0, 1, state, 0) for i, state in enumerate(states)]


def make_answer(branch="plain", value=b'"x"', state=OK, sample=0, is_vector=False):
    return Answered(
        branch=branch, sample=sample, state=state, value=value, is_vector=is_vector, error=None, endpoint="e",
        attempts=1, latency_ms=1, finish_reason=None, input_tokens=0, output_tokens=0, cost=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("states", "min_succeeded", "settled"),
    [
        ([OPEN], None, None),
        ([OK], None, OK),
        ([BAD], None, BAD),
        ([OK, OPEN], None, None),
        ([BAD, OPEN], None, None),
        ([OK, OK], None, OK),
        ([OK, BAD], None, BAD),
        ([OK, SKIPPED], None, BAD),
        ([OK, BAD], 1, OK),
        ([BAD, BAD], 1, BAD),
        ([OK, BAD, OPEN], 1, None),
        ([OK, OK, BAD], 2, OK),
        ([OK, BAD, BAD], 2, BAD),
        ([OK, OK], 7, OK),
    ],
)
def test_a_chunk_is_settled_when_all_its_answers_are(states, min_succeeded, settled):
    assert CombineAll(len(states), frozenset(), min_succeeded).settle(make_tasks(states)) == settled


def test_a_single_answer_stands_for_itself():
    assert bytes(CombineAll(1, frozenset(), None).value([make_answer(value=b'{"label": "a"}')])) == b'{"label": "a"}'


def test_a_vector_becomes_a_list():
    answer = make_answer(value=struct.pack("<3f", 1.0, -0.5, 0.25), is_vector=True)
    assert json.loads(bytes(CombineAll(1, frozenset(), None).value([answer]))) == [1.0, -0.5, 0.25]


def test_answers_are_an_object_by_branch_with_lists_where_there_are_samples():
    answers = [
        make_answer("plain", b'"p"'),
        make_answer("many", b"1"),
        make_answer("many", b"2", sample=1),
        make_answer("failed", None, BAD),
    ]
    value = CombineAll(4, frozenset({"many"}), 1).value(answers)
    assert json.loads(bytes(value)) == {"plain": "p", "many": [1, 2], "failed": None}


def test_a_refusals_body_is_no_value():
    value = CombineAll(2, frozenset(), 1).value([make_answer("a", b'{"error": 1}', BAD), make_answer("b")])
    assert json.loads(bytes(value)) == {"a": None, "b": "x"}
