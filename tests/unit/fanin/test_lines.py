"""A line of results.jsonl."""

import json

from fanout.fanin.answers import Answered, ChunkAnswers
from fanout.fanin.combine.all import CombineAll
from fanout.fanin.lines import encode, result_line
from fanout.ledger.errors import MAX_MESSAGE, error_json
from fanout.ledger.jobs import Ending
from fanout.ledger.schema import Settled

SINGLE = CombineAll(1, frozenset(), None)
FAILURE = error_json("Timeout", "no answer", endpoint="small", attempts=3)


def make_answer(**changes):
    values = {
        "branch": "plain", "sample": 0, "state": Settled.SUCCEEDED, "value": b'"fine"', "is_vector": False,
        "error": None, "endpoint": "small", "attempts": 1, "latency_ms": 412, "finish_reason": "stop",
        "input_tokens": 90, "output_tokens": 12, "cost": 20_700_000,
    }  # fmt: skip
    return Answered(**(values | changes))


def make_chunk(*answers, **changes):
    values = {
        "chunk": 7, "item": "a", "position": 3, "index": 1, "count": 2, "item_name": "f.jsonl", "fields": None,
        "title": "Scope", "state": Settled.SUCCEEDED, "error": None,
    }  # fmt: skip
    return ChunkAnswers(**(values | changes), answers=list(answers))


def written(chunk, combine=SINGLE, stop=None):
    line = encode(result_line(chunk, combine, stop))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return json.loads(line)


def test_a_success():
    assert written(make_chunk(make_answer())) == {
        "item": "a",
        "chunk": 1,
        "title": "Scope",
        "status": "Succeeded",
        "value": "fine",
        "endpoint": "small",
        "attempts": 1,
        "latencyMilliseconds": 412,
        "usage": {"inputTokens": 90, "outputTokens": 12},
        "cost": "0.00002070",
        "error": None,
    }


def test_a_failure_tells_its_error_and_no_value():
    answer = make_answer(state=Settled.FAILED, value=None, error=FAILURE, attempts=3, finish_reason=None)
    line = written(make_chunk(answer, state=Settled.FAILED))
    assert (line["status"], line["value"], line["attempts"]) == ("Failed", None, 3)
    assert line["error"] == {
        "reason": "Timeout",
        "message": "no answer",
        "httpStatus": None,
        "endpoint": "small",
        "requestId": None,
        "attempts": 3,
    }


def test_a_chunk_that_failed_before_it_had_tasks_tells_its_own_error():
    line = written(make_chunk(state=Settled.FAILED, error=error_json("InvalidRecord", "line 3: not JSON")))
    assert line["error"]["reason"] == "InvalidRecord"
    assert (line["endpoint"], line["attempts"], line["latencyMilliseconds"]) == (None, 0, None)


def test_a_skipped_chunk_tells_why_the_job_stopped():
    answer = make_answer(state=Settled.SKIPPED, value=None, endpoint=None, attempts=0, latency_ms=None)
    chunk = make_chunk(answer, state=Settled.SKIPPED)
    line = written(chunk, stop=Ending("DeadlineExceeded", "not done within 5 s"))
    assert (line["status"], line["error"]["reason"]) == ("Skipped", "DeadlineExceeded")
    assert written(chunk)["error"] is None


def test_several_answers_stand_beside_the_value():
    combine = CombineAll(2, frozenset(), 1)
    failed = make_answer(branch="b", state=Settled.FAILED, value=b"{}", error=FAILURE, latency_ms=900, cost=1)
    line = written(make_chunk(make_answer(branch="a"), failed), combine)
    assert line["value"] == {"a": "fine", "b": None}
    assert (line["attempts"], line["latencyMilliseconds"]) == (2, 900)
    assert line["usage"] == {"inputTokens": 180, "outputTokens": 24}
    assert [(a["branch"], a["status"], a["value"]) for a in line["answers"]] == [
        ("a", "Succeeded", "fine"),
        ("b", "Failed", None),
    ]
    assert line["answers"][1]["error"]["reason"] == "Timeout"
    assert line["error"] is None, "enough answers succeeded"


def test_a_long_message_is_cut():
    assert len(json.loads(error_json("BadRequest", "x" * 5000))["message"]) == MAX_MESSAGE
