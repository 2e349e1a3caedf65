"""The ledger's metadata, and columns and tables as its schema makes them. The modules that define tables share them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table

metadata = MetaData()

# SQLite numbers rows itself only for a column of type INTEGER.
ID = BigInteger().with_variant(Integer, "sqlite")


def count(name: str) -> Column[int]:
    """A column of whole numbers that begin at 0."""
    return Column(name, BigInteger, nullable=False, server_default="0")


def key(name: str) -> Column[int]:
    """A whole number of the primary key that the database does not choose."""
    return Column(name, BigInteger, primary_key=True, autoincrement=False)


def facts(name: str, *columns: Column[Any]) -> Table:
    """A table that is read by time and written by key: it is stored in the order of its key.

    No foreign keys: each would cost a look-up for each row of each report; `ledger check` looks for orphans.
    PostgreSQL leaves room in its pages, because each row changes sixty times in its hour.
    """
    return Table(name, metadata, *columns, sqlite_with_rowid=False, postgresql_with={"fillfactor": 50})


def polls(name: str) -> Table:
    """When a source was last asked for a zone, and with what success: servers share one turn."""
    return Table(
        name,
        metadata,
        Column("source", String(128), primary_key=True),
        Column("zone", String(128), primary_key=True),
        count("polled_at"),
        count("good_at"),
        Column("error", String(512), nullable=False, server_default=""),
    )
