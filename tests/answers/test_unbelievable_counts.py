"""Counts that no column can hold, from counters and from pods that count themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.answers.counted import an_hour, pods_count
from tests.answers.test_target_figures import CHAT, DAY, FIRST, HOUR, HOURS, a_query, figures, fill, keep
from tests.ledger.reports import a_report, book

from carbonbudget_operator.api.target_spec import ClusterUnitSource
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    migrate(made)
    yield made
    made.dispose()


def test_counts_that_no_column_can_hold_make_their_hour_unknown_and_hinder_nobody(engine: sa.Engine) -> None:
    """A pod may claim up to 10^12 units in an hour, and ten of them more than 64 bits hold in millionths."""
    fill(engine)
    names = [f"claims-{n}" for n in range(12)]
    hour = FIRST + HOURS * HOUR
    book(Booker(engine), a_report(hour + 600, "n1", dict.fromkeys(names, 10**6), labels={"app": "web"}))
    book(Booker(engine), a_report(hour + HOUR, "n1", {}), a_report(hour + HOUR, "n2", {}))
    with engine.connect() as connection:
        counter = connection.scalar(sa.text("SELECT id FROM unit_counter WHERE namespace = 'team-a'"))
    an_hour(engine, counter, hour, {("team-a", name): 10**12 for name in names})
    for name in names:
        pods_count(engine, name, "team-a", (10**12, hour, hour + 5))
    span = (hour - HOUR, hour + HOUR)
    theirs = a_query(span, selector=CHAT)
    posted = a_query(span, selector=CHAT, source=ClusterUnitSource(client="images"))
    ours = a_query(span, namespaces=["team-b"])
    before = figures(engine).answers([ours]).answers[0].spans

    def check() -> None:
        found = figures(engine).answers([theirs, ours, posted]).answers
        assert found[1].spans == before
        for answer in (found[0], found[2]):
            (one,) = answer.spans
            assert one.known_hours == 1
            assert one.units_micro < 2**63
            assert "more than can be" in one.missing

    check()
    keep(engine, hour + 40 * DAY, pod_days=30)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.max(schema.sealed_hour.c.hour))) >= hour, "it is sealed"
    found = figures(engine).answers([theirs, ours]).answers
    assert found[1].spans == before
    assert (found[0].spans[0].known_hours, found[0].spans[0].units_micro < 2**63) == (1, True)
