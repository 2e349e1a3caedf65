"""Fixtures of the ledger on both databases: a test that asks for one runs on SQLite and on a real PostgreSQL.

Tables are copied from a ledger that was migrated once: all migrations take 0.2 s of CPU time on SQLite, and 0.5 s on
PostgreSQL. Migrations have tests of their own, which begin with an empty database.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from tests.postgres import PostgresServer

from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate

PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Notes on a test whether it passed, which its fixtures see at their end."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    return report


@functools.cache
def _migrated() -> tuple[bytes, str]:
    """The file of an SQLite ledger with all its tables, and its schema's revision."""
    with tempfile.TemporaryDirectory() as directory:
        engine = open_ledger(f"sqlite:///{directory}/ledger.db")
        revision = migrate(engine)
        engine.dispose()
        return Path(directory, "ledger.db").read_bytes(), revision


def make_tables(engine: sa.Engine) -> None:
    """As `migrate`, quicker: a new SQLite ledger is copied, and one that is up to date needs nothing."""
    content, revision = _migrated()
    path = engine.url.database
    if engine.dialect.name == "sqlite" and path and not Path(path).exists():
        Path(path).write_bytes(content)
        return
    with engine.connect() as connection:
        if MigrationContext.configure(connection).get_current_revision() == revision:
            return
        if engine.dialect.name == "sqlite" and not path:  # in memory there is no write-ahead log
            raw: Any = connection.connection.driver_connection
            raw.deserialize(content[:18] + b"\1\1" + content[20:])
            return
    migrate(engine)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests."""
    if PostgresServer.bin() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is missing and CI=true allows no skip: hack/test-packages installs it")
        pytest.skip("PostgreSQL is missing: hack/test-packages installs it")
    directory = Path(tempfile.mkdtemp(prefix="cb-pg-"))
    server = PostgresServer(directory, durable=False)
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres_ledger(postgres: PostgresServer) -> str:
    """The name of a database with all tables and no row, which others are copies of."""
    engine = open_ledger(postgres.database())
    migrate(engine)
    engine.dispose()
    return str(engine.url.database)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """The database that a test runs on."""
    return str(request.param)


@pytest.fixture
def new_empty_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Each call gives the URL of a database without tables."""
    if database == "sqlite":
        numbers = count(1)
        return lambda: f"sqlite:///{tmp_path}/empty-{next(numbers)}.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database


@pytest.fixture
def new_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Each call gives the URL of a ledger with its tables and no row."""
    if database == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        template = request.getfixturevalue("postgres_ledger")
        given: list[str] = []

        def copy() -> str:
            given.append(server.copy(template))
            return given[-1]

        yield copy
        if request.node.stash.get(PASSED, False):  # what a failed test left is nobody's
            for url in given:
                server.give_back(url, template)
        return
    numbers = count(1)

    def copied() -> str:
        path = tmp_path / f"ledger-{next(numbers)}.db"
        path.write_bytes(_migrated()[0])
        return f"sqlite:///{path}"

    yield copied


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """The URL of a ledger with its tables and no row."""
    return new_url()


@pytest.fixture
def open_engine() -> Iterator[Callable[[str], sa.Engine]]:
    """Opens a ledger at a URL, and makes its tables where they are missing; closed after the test."""
    opened: list[sa.Engine] = []

    def make(url: str) -> sa.Engine:
        opened.append(open_ledger(url))
        make_tables(opened[-1])
        return opened[-1]

    yield make
    for made in opened:
        made.dispose()


@pytest.fixture
def engine(url: str, open_engine: Callable[[str], sa.Engine]) -> sa.Engine:
    """A ledger with its tables."""
    return open_engine(url)
