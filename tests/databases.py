"""Fixtures of the ledger on both databases: a test that asks for one runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.postgres import PostgresServer

from carbonbudget_operator.ledger.store import migrate, open_ledger


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests."""
    if PostgresServer.bin() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is missing and CI=true allows no skip: hack/test-packages installs it")
        pytest.skip("PostgreSQL is missing: hack/test-packages installs it")
    directory = Path(tempfile.mkdtemp(prefix="cb-pg-"))
    server = PostgresServer(directory)
    yield server
    server.stop()
    shutil.rmtree(directory)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Each call gives an empty database's URL."""
    if request.param == "sqlite":
        numbers = count(1)
        return lambda: f"sqlite:///{tmp_path}/ledger-{next(numbers)}.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database


@pytest.fixture
def url(new_url: Callable[[], str]) -> str:
    """An empty database's URL."""
    return new_url()


@pytest.fixture
def open_engine() -> Iterator[Callable[[str], sa.Engine]]:
    """Opens a ledger at a URL and makes its tables; closed after the test."""
    opened: list[sa.Engine] = []

    def make(url: str) -> sa.Engine:
        opened.append(open_ledger(url))
        migrate(opened[-1])
        return opened[-1]

    yield make
    for made in opened:
        made.dispose()


@pytest.fixture
def engine(url: str, open_engine: Callable[[str], sa.Engine]) -> sa.Engine:
    """A ledger with its tables."""
    return open_engine(url)
