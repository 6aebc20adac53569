"""Ledgers on both databases: each test that asks for one runs on SQLite and on PostgreSQL."""

import itertools
import sys
from pathlib import Path

import asyncpg
import pytest

from fanout.ledger.store import Ledger

sys.path.insert(0, str(Path(__file__).parent.parent))
from postgres import bin_folder, running_postgres

BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]
numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres():
    if bin_folder() is None:
        pytest.skip("no PostgreSQL here (Debian: postgresql; or FANOUT_POSTGRES_BIN)")
    with running_postgres() as address:
        yield address


@pytest.fixture
async def database(postgres):
    """The URL of a database of the test's own."""
    name = f"test{next(numbers)}"
    connection = await asyncpg.connect(f"postgresql://{postgres}/postgres")
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return f"postgresql+asyncpg://{postgres}/{name}"


@pytest.fixture(params=BOTH)
def where(request, tmp_path):
    """Where a ledger may be opened."""
    return tmp_path / "ledger.db" if request.param == "sqlite" else request.getfixturevalue("database")


@pytest.fixture
async def ledger(where):
    ledger = await Ledger.open(where)
    yield ledger
    await ledger.close()
