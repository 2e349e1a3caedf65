"""Databases of PostgreSQL that tests use one after another: empty, whole, and never one that a test changed."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy as sa
from tests.ledger.reports import a_report, book
from tests.postgres import PostgresServer

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger


def changed(url: str, *statements: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_a_copy_that_was_given_back_is_given_again_without_rows(postgres: PostgresServer, postgres_ledger: str) -> None:
    url = postgres.copy(postgres_ledger)
    engine = open_ledger(url)
    book(Booker(engine), a_report())
    engine.dispose()
    postgres.give_back(url, postgres_ledger)
    assert postgres.copy(postgres_ledger) == url
    engine = open_ledger(url)
    with engine.connect() as connection:
        for table in schema.metadata.sorted_tables:
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 0
    engine.dispose()


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE pod_energy CASCADE",
        "DROP TABLE alembic_version",
        "UPDATE alembic_version SET version_num = '9999'",
        "ALTER TABLE node ADD COLUMN more TEXT",
        "ALTER TABLE node ADD CHECK (id > 0)",
        "CREATE INDEX more ON node (name)",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_a_copy_that_was_changed_is_not_given_again(
    postgres: PostgresServer, postgres_ledger: str, statement: str
) -> None:
    url = postgres.copy(postgres_ledger)
    changed(url, statement)
    postgres.give_back(url, postgres_ledger)
    assert postgres.copy(postgres_ledger) != url


def test_a_copy_that_somebody_is_connected_to_is_not_given_again(
    postgres: PostgresServer, postgres_ledger: str
) -> None:
    url = postgres.copy(postgres_ledger)
    with psycopg.connect(url.replace("postgresql+psycopg", "postgresql")):
        postgres.give_back(url, postgres_ledger)
        assert postgres.copy(postgres_ledger) != url
