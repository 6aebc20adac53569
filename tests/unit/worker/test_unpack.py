"""Responses taken apart: one answer per task, and the call's outcome where there is none."""

import base64
import struct

import msgspec
import pytest

from fanout.broker.messages import CallMessage, Expect, TokenUsage
from fanout.broker.outcome import Outcome
from fanout_worker.clients.base import Response
from fanout_worker.unpack import unpack

LABEL = b'{"type": "object", "properties": {"label": {"enum": ["bug", "wish"]}}, "required": ["label"]}'
USAGE = {"prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}


def result(expect, body, status=200, headers=None):
    message = CallMessage(
        epoch=3, call=7, endpoint="small", path="/x", body=b"{}", expect=expect, timeout_seconds=1, start_by=0
    )
    body = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return unpack(message, Response(status, headers or {}, body), worker="w", now=0, latency_seconds=0.5)


def chat(content, finish="stop", **message):
    return {"choices": [{"message": {"content": content, **message}, "finish_reason": finish}], "usage": USAGE}


def only(expect, body):
    got = result(expect, body)
    assert got.outcome == Outcome.SUCCEEDED
    (answer,) = got.answers
    return answer


TEXT = Expect(kind="chat")
OBJECT = Expect(kind="chat", schema=LABEL)


def test_text_is_a_json_string():
    got = result(TEXT, chat('a "b"\né'), headers={"x-request-id": "r"})
    assert msgspec.json.decode(got.answers[0].value) == 'a "b"\né'
    assert got.usage == TokenUsage(input_tokens=10, cached_input_tokens=4, output_tokens=3)
    assert (got.epoch, got.call, got.endpoint, got.worker) == (3, 7, "small", "w")
    assert (got.http_status, got.request_id, got.latency_seconds, got.sent) == (200, "r", 0.5, True)
    assert got.answers[0].finish_reason == "stop"


def test_content_in_parts_is_joined():
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}, 7]
    assert only(TEXT, chat(parts)).value == b'"ab"'


def test_object_is_checked_and_compact():
    assert only(OBJECT, chat('```json\n{ "label" : "bug" }\n```')).value == b'{"label":"bug"}'
    answer = only(OBJECT, chat('{"label": "x"}'))
    assert (answer.outcome, answer.value, answer.text) == (Outcome.BAD_OUTPUT, b"", '{"label": "x"}')
    assert answer.fault == 'at $.label: "x" is not one of "bug" or "wish"'


@pytest.mark.parametrize("content", [None, "", "  \n", [], 5])
def test_empty_answer_is_bad_output(content):
    answer = only(TEXT, chat(content))
    assert (answer.outcome, answer.fault) == (Outcome.BAD_OUTPUT, "the answer is empty")


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (chat("half", "length"), Outcome.TRUNCATED),
        (chat('{"label": "bug"}', "length"), Outcome.TRUNCATED),
        (chat("", "content_filter"), Outcome.CONTENT_FILTERED),
        (chat(None, refusal="I can't help with that"), Outcome.CONTENT_FILTERED),
    ],
)
def test_cut_and_refused_answers(body, outcome):
    for expect in (TEXT, OBJECT):
        answer = only(expect, body)
        assert (answer.outcome, answer.value) == (outcome, b"")
        assert answer.fault


def test_refusal_keeps_the_models_words():
    assert "can't help" in only(TEXT, chat(None, refusal="I can't help with that")).fault


def test_shown_text_is_bounded():
    assert len(only(OBJECT, chat("x" * 1_000_000)).text) == 16 * 1024


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>hello</html>",
        b"[]",
        b"{}",
        b"null",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": 1}]}',
    ],
)
def test_what_is_not_the_api_is_a_server_error(body):
    for expect in (TEXT, Expect(kind="embed"), Expect(kind="chat", tasks=2, batched=True)):
        got = result(expect, body)
        assert (got.outcome, got.answers) == (Outcome.SERVER_ERROR, [])
        assert "url" in got.error


def test_error_response_keeps_its_usage():
    body = {"error": {"message": "slow down", "code": "x"}, "usage": USAGE}
    got = result(TEXT, body, status=429, headers={"retry-after": "2"})
    assert (got.outcome, got.answers, got.retry_after_seconds) == (Outcome.RATE_LIMITED, [], 2.0)
    assert got.usage is not None
    assert got.usage.input_tokens == 10


def test_error_inside_a_200():
    assert result(TEXT, {"error": {"message": "no", "code": 429}}).outcome == Outcome.RATE_LIMITED
    assert only(TEXT, {**chat("fine"), "error": None}).value == b'"fine"'


@pytest.mark.parametrize(
    "usage", [None, 5, {}, {"prompt_tokens": -1, "completion_tokens": "x"}, {"prompt_tokens": True}]
)
def test_odd_usage_does_no_harm(usage):
    got = result(TEXT, {**chat("a"), "usage": usage})
    assert got.outcome == Outcome.SUCCEEDED
    assert got.usage == (TokenUsage() if isinstance(usage, dict) else None)


def batch(items, n=3, schema=None, finish="stop"):
    content = items if isinstance(items, str) else msgspec.json.encode({"items": items}).decode()
    return result(Expect(kind="chat", tasks=n, batched=True, schema=schema), chat(content, finish))


def entries(*pairs):
    return [{"id": identity, "value": value} for identity, value in pairs]


def test_batch_goes_by_id():
    got = batch(entries(("3", "c"), (1, "a"), ("2", "b")))
    assert [answer.value for answer in got.answers] == [b'"a"', b'"b"', b'"c"']


def test_batch_fails_one_task_at_a_time():
    objects = entries(("1", {"label": "bug"}), ("2", {"label": "x"}), ("9", {"label": "bug"}))
    got = batch(objects, schema=LABEL)
    assert got.outcome == Outcome.SUCCEEDED
    assert [answer.outcome for answer in got.answers] == [Outcome.SUCCEEDED, Outcome.BAD_OUTPUT, Outcome.BAD_OUTPUT]
    assert "at $.label" in got.answers[1].fault
    assert got.answers[1].text == '{"label":"x"}'
    assert "id 3" in got.answers[2].fault


def test_batch_with_an_id_twice():
    got = batch(entries(("1", "a"), ("1", "b"), ("2", "c"), ("2", "c"), ("3", 5)))
    assert [answer.outcome for answer in got.answers] == [Outcome.BAD_OUTPUT, Outcome.SUCCEEDED, Outcome.BAD_OUTPUT]
    assert "several" in got.answers[0].fault
    assert "string" in got.answers[2].fault


def test_batch_counted_from_zero_is_refused_whole():
    got = batch(entries(("0", "a"), ("1", "b"), ("2", "c")))
    assert {answer.outcome for answer in got.answers} == {Outcome.BAD_OUTPUT}


@pytest.mark.parametrize("content", ["", "no", "[]", '{"items": 5}', '{"items": [{"id": "1", "value": "a"}', "null"])
def test_batch_without_its_envelope(content):
    got = batch(content)
    assert got.outcome == Outcome.SUCCEEDED
    assert [answer.outcome for answer in got.answers] == [Outcome.BAD_OUTPUT] * 3
    assert all(answer.fault for answer in got.answers)


def test_batch_in_a_fence_with_odd_entries():
    got = batch(
        '```json\n{"items": [5, null, {"id": "1"}, {"id": "2", "value": "b"}, {"value": "x"}, {"id": [], "value": 1}],}\n```'
    )
    assert [answer.outcome for answer in got.answers] == [Outcome.BAD_OUTPUT, Outcome.SUCCEEDED, Outcome.BAD_OUTPUT]


@pytest.mark.parametrize(
    ("finish", "outcome"), [("length", Outcome.TRUNCATED), ("content_filter", Outcome.CONTENT_FILTERED)]
)
def test_batch_cut_as_a_whole_has_no_answers(finish, outcome):
    got = batch(entries(("1", "a")), finish=finish)
    assert (got.outcome, got.answers) == (outcome, [])
    assert got.error
    assert got.usage is not None


def embed(data, n=2):
    return result(Expect(kind="embed", tasks=n), {"data": data, "usage": {"prompt_tokens": 4, "total_tokens": 4}})


def test_vectors_by_index_as_float32():
    packed = base64.b64encode(struct.pack("<2f", 1.5, -2.0)).decode()
    got = embed([{"index": 1, "embedding": packed}, {"index": 0, "embedding": [0.5, 3]}])
    assert [answer.value for answer in got.answers] == [struct.pack("<2f", 0.5, 3), struct.pack("<2f", 1.5, -2.0)]
    assert got.usage == TokenUsage(input_tokens=4)


@pytest.mark.parametrize(
    "data",
    [
        [{"embedding": [1]}],
        [{"embedding": [1]}] * 3,
        [{"index": 0, "embedding": [1]}] * 2,
        [{"index": 0, "embedding": [1]}, {"index": 7, "embedding": [1]}],
        [{"embedding": [1]}, {"embedding": []}],
        [{"embedding": [1]}, {"embedding": ["x"]}],
        [{"embedding": [1]}, {"embedding": [1e300]}],
        [{"embedding": [1]}, {"embedding": "§"}],
        [{"embedding": [1]}, {"embedding": "YWI="}],
        [{"embedding": [1]}, {"embedding": base64.b64encode(struct.pack("<f", float("nan"))).decode()}],
        [{"embedding": [1]}, {}],
        [{"embedding": [1]}, 5],
        "x",
    ],
)
def test_wrong_vectors_are_a_server_error(data):
    got = embed(data)
    assert (got.outcome, got.answers) == (Outcome.SERVER_ERROR, [])
    assert got.error


PASS = Expect(kind="passthrough")


def test_passthrough_keeps_the_body_in_one_line():
    got = result(
        PASS, b'{\r\n  "a": 1.50,\n "choices": [{"finish_reason": "length"}], "usage": {"prompt_tokens": 2}}\n'
    )
    assert (
        got.answers[0].value
        == b'{    "a": 1.50,  "choices": [{"finish_reason": "length"}], "usage": {"prompt_tokens": 2}}'
    )
    assert got.usage == TokenUsage(input_tokens=2)


def test_failed_passthrough_keeps_the_error_body():
    body = b'{"error": {"message": "bad"}}'
    got = result(PASS, body, status=400)
    assert (got.outcome, got.answers[0].outcome, got.answers[0].value) == (
        Outcome.BAD_REQUEST,
        Outcome.BAD_REQUEST,
        body,
    )
    assert "bad" in got.error
    assert len(result(PASS, b"x" * 100_000, status=500).answers[0].value) == 64 * 1024


def test_passthrough_of_what_is_not_json():
    got = result(PASS, b"<html>")
    assert (got.outcome, got.answers[0].value) == (Outcome.SERVER_ERROR, b"<html>")
