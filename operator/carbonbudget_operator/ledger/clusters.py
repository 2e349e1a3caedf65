"""Lists the clusters in a ledger: a question about an unknown one is an error and not an answer of zeros."""

from __future__ import annotations

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.ledger_engine import WrongLedger


def require_cluster(engine: sa.Engine, cluster: str) -> None:
    """Raise WrongLedger if the ledger has other clusters and not this one; an empty ledger has none of any name."""
    node, closed = schema.node.c, schema.closed_report.c
    with engine.connect() as connection:
        names = sa.union(sa.select(node.cluster), sa.select(closed.cluster))
        known = sorted(connection.scalars(names))
    if known and cluster not in known:
        raise WrongLedger(
            f"the ledger has no cluster {cluster!r}, only {', '.join(known)}: name one of them by `cluster` in the "
            "settings file (--config)"
        )
