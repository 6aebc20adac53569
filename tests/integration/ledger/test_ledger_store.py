"""Opening the ledger; one writer, which knows when it is not the one any more."""

import asyncio

import pytest
from ledger_rows import make_job, make_plan
from sqlalchemy import update

from fanout.ledger import jobs, schema
from fanout.ledger.store import FencedError, Ledger, LedgerInUseError, LedgerVersionError


async def test_a_ledger_keeps_what_was_committed_and_counts_on(where):
    ledger = await Ledger.open(where)
    async with ledger.write() as connection:
        await make_plan(connection, 3)
    await ledger.close()

    again = await Ledger.open(where)
    async with again.read() as connection:
        record = await jobs.find(connection, "default/job")
    assert (again.epoch, record.name, record.systems) == (2, "job", ["Be brief."])
    assert (again.new_task(), again.new_call()) == (3, 3)
    await again.close()


async def test_an_empty_ledger_counts_from_nothing(ledger):
    assert ledger.epoch == 1
    assert [ledger.new_task(), ledger.new_task(), ledger.new_call()] == [0, 1, 0]


async def test_what_fails_is_not_written_at_all(ledger):
    with pytest.raises(RuntimeError, match="half way"):
        async with ledger.write() as connection:
            await make_job(connection)
            raise RuntimeError("half way")
    async with ledger.read() as connection:
        assert await jobs.find(connection, "default/job") is None


async def test_writers_take_turns(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)

    async def count_up():
        async with ledger.write() as connection:
            record = await jobs.find(connection, "default/job")
            await asyncio.sleep(0)
            await jobs.set_cursor(connection, job, record.items + 1, b"")

    await asyncio.gather(*(count_up() for _ in range(20)))
    async with ledger.read() as connection:
        assert (await jobs.find(connection, "default/job")).items == 20


async def test_readers_see_only_what_is_committed(ledger):
    async with ledger.write() as writing:
        await make_job(writing)
        async with ledger.read() as reading:
            assert await jobs.find(reading, "default/job") is None
    async with ledger.read() as reading:
        assert await jobs.find(reading, "default/job") is not None


async def test_writers_that_are_cancelled_at_any_moment_leave_the_ledger_in_order(ledger):
    async with ledger.write() as connection:
        job = await make_job(connection)
    started = 0

    async def write():
        nonlocal started
        async with ledger.write() as connection:
            started += 1
            await jobs.set_cursor(connection, job, started, b"x" * started)

    for step in range(60):
        writing = asyncio.create_task(write())
        for _ in range(step % 15):
            await asyncio.sleep(0.0002)
        writing.cancel()
        # The next writer comes at once, while the cancelled one's connection may still be busy.
        await write()
        await asyncio.gather(writing, return_exceptions=True)
    async with ledger.read() as connection:
        record = await jobs.find(connection, "default/job")
    assert record.items == len(record.input_digest) == started


async def test_a_ledger_of_another_version_is_refused(where):
    ledger = await Ledger.open(where)
    async with ledger.write() as connection:
        await connection.execute(update(schema.ledger).values(schema_version=schema.SCHEMA_VERSION + 1))
    await ledger.close()
    with pytest.raises(LedgerVersionError, match=f"version {schema.SCHEMA_VERSION + 1}"):
        await Ledger.open(where)


async def test_a_sqlite_ledger_is_one_processs_at_a_time(tmp_path):
    first = await Ledger.open(tmp_path / "ledger.db")
    with pytest.raises(LedgerInUseError, match="another Fanout"):
        await Ledger.open(tmp_path / "ledger.db")
    async with first.write() as connection:
        await make_job(connection)
    await first.close()
    second = await Ledger.open(tmp_path / "ledger.db")
    assert second.epoch == 2
    await second.close()


async def test_a_version_that_is_refused_lets_go_of_the_lock(tmp_path):
    ledger = await Ledger.open(tmp_path / "ledger.db")
    async with ledger.write() as connection:
        await connection.execute(update(schema.ledger).values(schema_version=99))
    await ledger.close()
    for _ in range(2):
        with pytest.raises(LedgerVersionError):
            await Ledger.open(tmp_path / "ledger.db")


@pytest.mark.postgres
class TestFencing:
    async def test_who_was_taken_over_writes_no_more(self, database):
        first = await Ledger.open(database)
        async with first.write() as connection:
            await make_job(connection, "before")
        second = await Ledger.open(database)
        assert second.epoch == first.epoch + 1
        with pytest.raises(FencedError):
            async with first.write() as connection:
                await make_job(connection, "after")
        async with second.write() as connection:
            assert await jobs.find(connection, "default/before") is not None
            assert await jobs.find(connection, "default/after") is None
        await first.close()
        await second.close()

    async def test_a_take_over_waits_for_the_write_that_is_under_way(self, database):
        first = await Ledger.open(database)
        async with first.write() as connection:
            taking_over = asyncio.create_task(Ledger.open(database))
            await asyncio.wait([taking_over], timeout=0.3)
            assert not taking_over.done(), "the new owner must not begin between our check and our commit"
            await make_job(connection, "last")
        second = await taking_over
        async with second.read() as connection:
            assert await jobs.find(connection, "default/last") is not None
        await first.close()
        await second.close()

    async def test_several_that_open_at_once_have_epochs_of_their_own(self, database):
        ledgers = await asyncio.gather(*(Ledger.open(database) for _ in range(4)))
        assert sorted(ledger.epoch for ledger in ledgers) == [1, 2, 3, 4]
        latest = max(ledgers, key=lambda ledger: ledger.epoch)
        for ledger in ledgers:
            if ledger is not latest:
                with pytest.raises(FencedError):
                    async with ledger.write():
                        pass
        async with latest.write() as connection:
            await make_job(connection)
        for ledger in ledgers:
            await ledger.close()
