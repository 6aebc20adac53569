"""Whole jobs with their ledger on SQLite and on PostgreSQL: what unit tests try on SQLite alone."""

import asyncio
import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "engine"))
from engine_jobs import bench, finish, let_pass, lines, make_job, until, values
from fake_worker import prompt_of, result, texts_of

from fanout.broker.outcome import Outcome
from fanout.engine.report import report_of

TEXTS = [f"text {i}" for i in range(30)] + ["text 3", "text 4"]
SYNTHESIS = {"steps": [{"synthesize": {"endpoints": ["small"], "prompt": "Merge {{ parts }}", "maxPartsPerCall": 5}}]}


class KilledError(Exception):
    """Stands for the process's end."""


def troublesome():
    """An answer function: every fifth call fails first, one text always; odd words in the errors."""
    seen = set()

    async def answer(message):
        await asyncio.sleep(0.003)
        text = prompt_of(message)
        if "text 7" in texts_of(message):
            return result(
                message, Outcome.BAD_REQUEST, error="no\x00 \ud800 „nein“", http_status=400, request_id="r\x00"
            )
        if text not in seen and sum(text.encode()) % 5 == 0:
            seen.add(text)
            return result(message, Outcome.SERVER_ERROR, http_status=500)
        return result(message)

    return answer


async def test_a_job_of_all_kinds_of_answers(tmp_path, where):
    job = make_job(branch={"batch": {"maxItems": 3}}, reduce=SYNTHESIS, completion={"minSuccessPercent": 90})
    async with bench(tmp_path, where=where) as b, b.worker(answer=troublesome()):
        run = await b.run(job, TEXTS)
        report = await report_of(run, b.ledger, run.record.ending)
    assert run.record.ending.reason == "Succeeded"
    assert [value for value in values(run) if value] == [text.upper() for text in TEXTS if text != "text 7"]
    assert lines(run)[7]["error"]["reason"] == "BadRequest"
    assert report["chunks"] == {"planned": 32, "succeeded": 31, "failed": 1, "skipped": 0, "inFlight": 0}
    assert report["calls"]["deduplicated"] == 2
    assert run.output.read_text().startswith("MERGE ")


async def test_first_with_two_branches(tmp_path, where):
    async def never(_message):
        await asyncio.Event().wait()

    branches = [
        {"name": name, "endpoints": [name], "chat": {"prompt": "{{ chunk.text }}"}} for name in ("small", "backup")
    ]
    job = make_job(branches=branches, combine={"by": "First"})
    async with bench(tmp_path, where=where) as b, b.worker("small"), b.worker("backup", never):
        run = await b.run(job, TEXTS)
    assert values(run) == [text.upper() for text in TEXTS]


async def test_a_deadline(tmp_path, where):
    async def never(_message):
        await asyncio.Event().wait()

    async with bench(tmp_path, where=where) as b, b.worker(answer=never):
        run = await b.submit(make_job(completion={"deadlineSeconds": 60}), TEXTS)
        running = asyncio.create_task(finish(run))
        await until(lambda: run.progress.planning_done)
        let_pass(run, 60)
        await running
    assert run.progress.counts.skipped == len(TEXTS)
    assert run.record.ending.reason == "NoSuccess"


@pytest.mark.parametrize("after", [3, 25])
async def test_a_job_that_is_killed_and_resumed(tmp_path, where, after):
    job = make_job(reduce=SYNTHESIS, completion={"minSuccessPercent": 90})
    with contextlib.suppress(KilledError, ExceptionGroup):
        async with bench(tmp_path, where=where) as b, b.worker(answer=troublesome()):
            run = await b.submit(job, TEXTS)
            running = asyncio.create_task(finish(run))
            await until(lambda: run.progress.settled >= after)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            raise KilledError
    async with bench(tmp_path, where=where) as b, b.worker(answer=troublesome()):
        run = await b.run(job, TEXTS)
    assert run.record.ending.reason == "Succeeded"
    assert [line["item"] for line in lines(run)] == [str(i) for i in range(len(TEXTS))]
    assert run.progress.counts.succeeded == len(TEXTS) - 1
