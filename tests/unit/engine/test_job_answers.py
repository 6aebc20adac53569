"""A job with a fake worker: what becomes of each kind of answer."""

import asyncio
from collections import Counter

import pytest
from engine_jobs import bench, endpoint, frames_of, lines, make_item, make_job, until, values
from fake_worker import prompt_of, result, succeed, texts_of

from fanout.broker.messages import Answer
from fanout.broker.outcome import Outcome
from fanout.planning.frames import Finished, Items

RETRY = {"limit": 2}


def in_turn(*outcomes, **fields):
    """Answers with these outcomes one after the other for each text, then succeeds."""
    seen = Counter()

    async def answer(message):
        text = prompt_of(message)
        seen[text] += 1
        if seen[text] <= len(outcomes):
            return result(message, outcomes[seen[text] - 1], **fields)
        return result(message)

    return answer


async def test_all_succeed_in_input_order(tmp_path):
    texts = [f"text {i}" for i in range(37)]
    async with bench(tmp_path) as b, b.worker() as worker:
        run = await b.run(make_job(), texts)
    assert run.record.ending.reason == "Succeeded"
    assert values(run) == [text.upper() for text in texts]
    assert [line["item"] for line in lines(run)] == [str(i) for i in range(37)]
    assert all(line["attempts"] == 1 and line["error"] is None for line in lines(run))
    assert len(worker.asked) == 37
    assert run.progress.calls["made"] == 37
    assert run.progress.calls["input_tokens"] == 370
    assert lines(run, "failures.jsonl") == []


async def test_an_input_without_items_succeeds(tmp_path):
    async with bench(tmp_path) as b, b.worker():
        run = await b.run(make_job(), [])
    assert run.record.ending.reason == "Succeeded"
    assert lines(run) == []


@pytest.mark.parametrize("outcome", [Outcome.SERVER_ERROR, Outcome.TIMEOUT, Outcome.CONNECTION_FAILED])
async def test_what_may_pass_is_tried_again(tmp_path, outcome):
    async with bench(tmp_path) as b, b.worker(answer=in_turn(outcome, outcome)):
        run = await b.run(make_job(branch={"retry": RETRY}), ["a", "b"])
    assert values(run) == ["A", "B"]
    assert [line["attempts"] for line in lines(run)] == [3, 3]
    assert (run.progress.calls["made"], run.progress.calls["retried"]) == (6, 4)


async def test_and_fails_with_its_last_error_when_the_retries_are_used_up(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=in_turn(*[Outcome.SERVER_ERROR] * 9, http_status=500)):
        run = await b.run(make_job(branch={"retry": RETRY}), ["a"])
    (line,) = lines(run)
    assert (line["status"], line["value"], line["attempts"]) == ("Failed", None, 3)
    assert (line["error"]["reason"], line["error"]["httpStatus"], line["error"]["attempts"]) == ("ServerError", 500, 3)
    assert lines(run, "failures.jsonl") == [line]
    assert run.record.ending.reason == "NoSuccess"


@pytest.mark.parametrize("outcome", [Outcome.RATE_LIMITED, Outcome.OVERLOADED])
async def test_throttling_uses_up_no_attempt(tmp_path, outcome):
    throttled = in_turn(*[outcome] * 4, retry_after_seconds=0.002)
    async with bench(tmp_path) as b, b.worker(answer=throttled) as worker:
        run = await b.run(make_job(branch={"retry": {"limit": 0}}), ["a", "b"])
    assert values(run) == ["A", "B"]
    assert [line["attempts"] for line in lines(run)] == [1, 1]
    assert len(worker.asked) == 10
    assert run.progress.calls["rate_limited"] == 8
    assert run.progress.calls["retried"] == 0


async def test_a_throttled_endpoint_is_left_in_peace_for_as_long_as_it_asks(tmp_path):
    times = []

    async def answer(message):
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            return result(message, Outcome.RATE_LIMITED, retry_after_seconds=0.2)
        return result(message)

    async with bench(tmp_path) as b, b.worker(answer=answer, slots=1):
        await b.run(make_job(), ["a", "b", "c"])
    assert times[1] - times[0] >= 0.19
    assert times[3] - times[1] < 0.15


async def test_an_endpoint_that_throttles_and_says_at_once_is_not_hammered(tmp_path):
    async with bench(tmp_path) as b, b.worker(answer=in_turn(*[Outcome.RATE_LIMITED] * 3, retry_after_seconds=0.0)):
        waits = []
        run = await b.submit(make_job(), ["a"])
        window = b.engine.dispatcher.windows["small"]
        throttle = window.throttle
        window.throttle = lambda now, wait: (waits.append(wait), throttle(now, wait))
        await run.run()
    assert len(waits) == 3
    assert all(wait > 0 for wait in waits)


async def test_while_an_endpoint_is_throttled_the_next_one_takes_its_calls(tmp_path):
    async def throttled(message):
        return result(message, Outcome.RATE_LIMITED, retry_after_seconds=30.0)

    job = make_job(branch={"endpoints": ["small", "backup"]})
    async with bench(tmp_path) as b, b.worker("small", throttled, slots=1), b.worker("backup"):
        run = await b.run(job, ["a", "b", "c"], {"small": endpoint(1), "backup": endpoint()})
    assert values(run) == ["A", "B", "C"]
    assert {line["endpoint"] for line in lines(run)} == {"backup"}
    assert run.progress.calls["failed_over"] == 3


async def test_failover_of_what_an_endpoint_cannot_do(tmp_path):
    async def unknown(message):
        return result(message, Outcome.NOT_FOUND)

    job = make_job(branch={"endpoints": ["small", "backup"], "retry": {"limit": 0}})
    async with bench(tmp_path) as b, b.worker("small", unknown), b.worker("backup"):
        run = await b.run(job, ["a", "b"])
    assert values(run) == ["A", "B"]
    assert [line["attempts"] for line in lines(run)] == [2, 2]
    assert run.progress.calls["failed_over"] == 2


async def test_failover_ends_where_no_endpoint_is_left(tmp_path):
    async def unknown(message):
        return result(message, Outcome.NOT_FOUND)

    job = make_job(branch={"endpoints": ["small", "backup"]})
    async with bench(tmp_path) as b, b.worker("small", unknown) as small, b.worker("backup", unknown) as backup:
        run = await b.run(job, ["a"])
    assert lines(run)[0]["error"]["reason"] == "NotFound"
    assert (len(small.asked), len(backup.asked)) == (1, 1)


async def test_a_bad_answer_is_shown_its_fault_once(tmp_path):
    bodies = []

    async def answer(message):
        bodies.append(message.body.decode())
        if len(bodies) == 1:
            bad = Answer(outcome=Outcome.BAD_OUTPUT, fault="the label is missing", text="{oops")
            return result(message, answers=[bad])
        return result(message, answers=[Answer(value=b'{"label":"x"}')])

    async with bench(tmp_path) as b, b.worker(answer=answer):
        run = await b.run(make_job(), ["a"])
    assert values(run) == [{"label": "x"}]
    assert len(bodies) == 2
    assert "{oops" in bodies[1]
    assert "the label is missing" in bodies[1]
    assert lines(run)[0]["attempts"] == 2


async def test_a_second_bad_answer_fails(tmp_path):
    async def answer(message):
        return result(message, answers=[Answer(outcome=Outcome.BAD_OUTPUT, fault="no", text="x")])

    async with bench(tmp_path) as b, b.worker(answer=answer) as worker:
        run = await b.run(make_job(), ["a"])
    (line,) = lines(run)
    assert (line["error"]["reason"], line["error"]["message"]) == ("BadOutput", "no")
    assert len(worker.asked) == 2


BATCH = {"batch": {"maxItems": 4}}


async def test_light_tasks_share_a_call(tmp_path):
    async with bench(tmp_path) as b, b.worker() as worker:
        run = await b.run(make_job(branch=BATCH), list("abcdefgh"))
    assert values(run) == list("ABCDEFGH")
    assert len(worker.asked) == 2
    assert sum(line["usage"]["inputTokens"] for line in lines(run)) == 20


async def test_a_batch_that_is_cut_short_is_halved_until_it_fits(tmp_path):
    async def answer(message):
        return result(message, Outcome.TRUNCATED if len(texts_of(message)) > 1 else Outcome.SUCCEEDED)

    async with bench(tmp_path) as b, b.worker(answer=answer) as worker:
        run = await b.run(make_job(branch=BATCH), list("abcd"))
    assert values(run) == list("ABCD")
    assert Counter(len(texts_of(message)) for message in worker.asked) == {4: 1, 2: 2, 1: 4}
    assert [line["attempts"] for line in lines(run)] == [3] * 4


async def test_a_poisoned_task_fails_alone(tmp_path):
    async def answer(message):
        return result(message, Outcome.BAD_REQUEST if "c" in texts_of(message) else Outcome.SUCCEEDED)

    async with bench(tmp_path) as b, b.worker(answer=answer):
        run = await b.run(make_job(branch=BATCH), list("abcd"))
    assert values(run) == ["A", "B", None, "D"]
    assert lines(run)[2]["error"]["reason"] == "BadRequest"


async def test_a_task_missing_from_a_batchs_answer_goes_alone(tmp_path):
    async def answer(message):
        texts = texts_of(message)
        if len(texts) == 1:
            return result(message)
        answers = [Answer(value=b'"%b"' % text.upper().encode()) for text in texts]
        answers[texts.index("b")] = Answer(outcome=Outcome.BAD_OUTPUT, fault="no item with this id")
        return result(message, answers=answers)

    async with bench(tmp_path) as b, b.worker(answer=answer) as worker:
        run = await b.run(make_job(branch=BATCH), list("abcd"))
    assert values(run) == list("ABCD")
    assert [texts_of(message) for message in worker.asked] == [["a", "b", "c", "d"], ["b"]]
    assert [line["attempts"] for line in lines(run)] == [1, 2, 1, 1]


async def test_the_same_request_is_made_once(tmp_path):
    async with bench(tmp_path) as b, b.worker() as worker:
        run = await b.run(make_job(), ["a", "b", "a", "a", "b"], per_frame=2)
    assert values(run) == ["A", "B", "A", "A", "B"]
    assert len(worker.asked) == 2
    assert run.progress.deduplicated == 3
    assert [line["usage"]["inputTokens"] for line in lines(run)] == [10, 10, 0, 0, 0]


async def test_a_request_that_was_answered_before_is_answered_while_planning(tmp_path):
    async with bench(tmp_path) as b, b.worker() as worker:
        run = None

        async def answered(_frame):
            await until(lambda: run.progress.settled == 2)

        run = await b.submit(make_job(), frames_of(["a", "b", "a", "c"], per_frame=2, between=answered))
        await run.run()
    assert values(run) == ["A", "B", "A", "C"]
    assert len(worker.asked) == 3


async def test_two_samples_are_two_requests(tmp_path):
    async with bench(tmp_path) as b, b.worker() as worker:
        run = await b.run(make_job(branch={"samples": 3}), ["a", "a"])
    assert values(run) == [{"plain": ["A"] * 3}] * 2
    assert len(worker.asked) == 3


@pytest.mark.parametrize("text", ["a\x00b", "a\ud800b"])
async def test_whatever_a_server_says_is_stored_and_told(tmp_path, text):
    async def answer(message):
        return result(message, Outcome.BAD_REQUEST, error=text, request_id=text)

    async with bench(tmp_path) as b, b.worker(answer=answer):
        run = await b.run(make_job(), ["a"])
    assert lines(run)[0]["error"]["reason"] == "BadRequest"


async def test_first_gives_up_the_other_branches(tmp_path):
    never = asyncio.Event()

    async def slow(message):
        await never.wait()

    branches = [
        {"name": name, "endpoints": [name], "chat": {"prompt": "{{ chunk.text }}"}} for name in ("small", "backup")
    ]
    job = make_job(branches=branches, combine={"by": "First"})
    async with bench(tmp_path) as b, b.worker("small") as quick, b.worker("backup", slow) as late:
        texts = [f"t{i}" for i in range(7)]
        run = await b.run(job, texts)
        await until(lambda: not b.engine.dispatcher.leases)
        assert values(run) == [text.upper() for text in texts]
        assert len(quick.asked) == 7
        # What was out is called back, and what was not out yet is never sent.
        assert sorted(late.cancelled) == sorted(message.call for message in late.asked)
        assert b.engine.dispatcher.windows["backup"].in_flight == 0
    assert [answer["status"] for answer in lines(run)[0]["answers"]] == ["Succeeded", "Skipped"]


async def test_first_fails_a_chunk_only_with_its_last_branch(tmp_path):
    async def refuse(message):
        return result(message, Outcome.BAD_REQUEST)

    async def picky(message):
        await asyncio.sleep(0.01)
        return result(message, Outcome.BAD_REQUEST) if prompt_of(message) == "b" else await succeed(message)

    branches = [
        {"name": name, "endpoints": [name], "chat": {"prompt": "{{ chunk.text }}"}} for name in ("small", "backup")
    ]
    job = make_job(branches=branches, combine={"by": "First"})
    async with bench(tmp_path) as b, b.worker("small", refuse), b.worker("backup", picky):
        run = await b.run(job, ["a", "b"])
    assert values(run) == ["A", None]
    assert run.record.ending.reason == "Partial"


async def test_a_request_given_up_for_one_chunk_is_made_for_another_that_needs_it(tmp_path):
    """Chunk 0 and 1 send the same to `backup` and different things to `small`."""
    run = None

    async def answer_small(message):
        return result(message, Outcome.BAD_REQUEST) if prompt_of(message) == "other" else result(message)

    async def slow_first(message):
        await asyncio.sleep(10 if run.progress.settled == 0 else 0)
        return result(message)

    branches = [
        {"name": name, "endpoints": [name], "chat": {"prompt": "{{ chunk.text }}"}} for name in ("small", "backup")
    ]
    job = make_job(branches=branches, combine={"by": "First"})

    async def frames():
        first, second = make_item(0, "same", 2), make_item(1, "other", 2)
        second.chunks[0].requests[1] = first.chunks[0].requests[1]
        yield Items(items=[first])
        await until(lambda: run.progress.settled == 1)
        yield Items(items=[second])
        yield Finished(items=2)

    async with bench(tmp_path) as b, b.worker("small", answer_small), b.worker("backup", slow_first):
        run = await b.submit(job, frames)
        await run.run()
    assert values(run) == ["SAME", "SAME"]
