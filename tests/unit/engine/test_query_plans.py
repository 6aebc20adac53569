"""No statement that runs again and again reads a whole job: a million tasks would make each one slow."""

import re
import sqlite3

from engine_jobs import bench, make_job
from fake_worker import prompt_of, result
from sqlalchemy import event

from fanout.broker.outcome import Outcome

# All of a job, or of a stage of it, or all of a table.
WHOLE = re.compile(r"^SCAN (tasks|chunks|items|calls)|^SEARCH \w+ USING .*\(job=\?( AND (stage|lane)=\?)?\)$")
# Once at the start or the end of a run, or when a job is given up.
ONCE = re.compile(
    r"count\(|max\(|sum\(|calls\.lane < |calls\.not_before > |tasks\.same_as IS NULL$|ORDER BY calls\.latency_ms"
    r"|WHERE calls\.job = \? AND calls\.state = \?$|ORDER BY nodes\.node$"
)
# These stop at their LIMIT, along the index.
LIMITED = re.compile(r"FROM calls .*ORDER BY calls\.rank DESC, calls\.call\s+LIMIT|ORDER BY chunks\.chunk", re.DOTALL)


async def test_what_runs_for_each_batch_goes_by_an_index(tmp_path):
    statements = {}

    def seen(_connection, _cursor, statement, parameters, _context, many):
        if statement.startswith(("SELECT", "UPDATE")):
            statements.setdefault(statement, parameters[0] if many else parameters)

    failed = set()

    async def answer(message):
        prompt = prompt_of(message)
        if prompt.endswith("7") and prompt not in failed:
            failed.add(prompt)
            return result(message, Outcome.SERVER_ERROR)
        return result(message)

    texts = [f"text {i % 50}" for i in range(60)]
    job = make_job(
        reduce={"steps": [{"synthesize": {"endpoints": ["small"], "prompt": "{{ parts }}", "maxPartsPerCall": 5}}]}
    )
    async with bench(tmp_path) as b, b.worker(answer=answer):
        event.listen(b.ledger._engine.sync_engine, "before_cursor_execute", seen)
        await b.run(job, texts)
    assert len(statements) > 20
    database = sqlite3.connect(tmp_path / "ledger.db")
    try:
        slow = {}
        for statement, parameters in statements.items():
            plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            whole = [step for step in plan if WHOLE.search(step)]
            if whole and not ONCE.search(statement) and not LIMITED.search(statement):
                slow[statement] = whole
    finally:
        database.close()
    assert not slow, "\n".join(f"{plan}: {statement}" for statement, plan in slow.items())
