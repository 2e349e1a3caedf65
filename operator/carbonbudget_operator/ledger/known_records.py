"""Which posted spans and unit counts are stored already: one question for all pods of a transaction.

A question for each pod cost more than storing its span. SQLite reads the whole table for a list of pairs, so the pairs
are rows here, each of which is looked up in the index.
"""

from __future__ import annotations

import json
from collections.abc import Collection

import sqlalchemy as sa

from carbonbudget_operator.ledger.bulk_rows import integers, texts, written_array

_PodRecord = tuple[int, str]  # the pod's id in the ledger, the record's id as the client chose it


class KnownRecords:
    """Looks up records of one table, `span` or `unit_count`."""

    def __init__(self, dialect: sa.Dialect, table: sa.Table) -> None:
        self._arrays = dialect.name == "postgresql"
        c = table.c
        if self._arrays:
            # Each by itself, and with a limit: without statistics PostgreSQL would read the whole table otherwise.
            names = sa.column("pod_id", sa.BigInteger), sa.column("id", sa.String)
            arrays = written_array("pods", sa.BigInteger()), written_array("ids", sa.String())
            key = sa.func.unnest(*arrays).table_valued(*names).render_derived("asked")
            found = sa.select(c.id).where(c.pod_id == key.c.pod_id, c.id == key.c.id).limit(1).lateral("found")
            self._question = sa.select(key.c.pod_id, key.c.id).select_from(key.join(found, sa.true()))
        else:
            pair = sa.func.json_each(sa.bindparam("pairs", type_=sa.Text)).table_valued("value", name="asked").c.value
            pod_id, record_id = (sa.func.json_extract(pair, place) for place in ("$[0]", "$[1]"))
            self._question = sa.select(c.pod_id, c.id).where(c.pod_id == pod_id, c.id == record_id)

    def find(self, connection: sa.Connection, records: Collection[_PodRecord]) -> set[_PodRecord]:
        """The given records that are stored."""
        if not records:
            return set()
        wanted = sorted(set(records))
        if self._arrays:
            pods, names = zip(*wanted, strict=True)
            given = {"pods": integers(pods), "ids": texts(names)}
        else:
            given = {"pairs": json.dumps(wanted)}
        return {(pod_id, name) for pod_id, name in connection.execute(self._question, given)}
