"""Units that pods count themselves are stored by hour: a reader pays for pods and hours, whatever was posted."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread

import pytest
import sqlalchemy as sa
from alembic import command
from tests.ledger.reports import HOUR

from carbonbudget_operator.ledger.bulk_rows import MOST_ADDED
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.posted_units import posted_revisions
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.schema_revisions import migrations
from carbonbudget_operator.ledger.span_store import DAY, Post, PostedUnit, SpanStore
from carbonbudget_operator.ledger.span_tables import posted_count, posted_unit_hour
from carbonbudget_operator.units.spread_count import spread_count

MS = HOUR * 1000
MICRO = 10**6


def a_count(
    number: int, count: int = 10, start_ms: int = MS, length_ms: int = 1000, name: str = "images"
) -> PostedUnit:
    return PostedUnit(f"u{number}", name, count, start_ms, start_ms + length_ms)


def store(engine: sa.Engine, *units: PostedUnit, most: int = 10**6, uid: str = "pod-1") -> bool:
    return SpanStore(engine, "default", most).store([Post("team-a", uid, uid, units=units)], HOUR + 7200)[0]


def hours(engine: sa.Engine) -> list[tuple[str, int, int, int]]:
    """Name, hours after HOUR, units in millionths, counts."""
    c = posted_unit_hour.c
    with engine.connect() as connection:
        rows = connection.execute(sa.select(c.name, c.hour, c.micro, c.counts).order_by(c.name, c.hour)).all()
    return [(name, (hour - HOUR) // 3600, micro, counts) for name, hour, micro, counts in rows]


def test_many_counts_of_an_hour_are_one_row(engine: sa.Engine) -> None:
    for first in range(0, 3_000, 1_000):
        assert store(engine, *(a_count(n, start_ms=MS + n) for n in range(first, first + 1_000)))
    assert store(engine, a_count(3_000, name="tokens"))
    assert hours(engine) == [("images", 0, 30_000 * MICRO, 3_000), ("tokens", 0, 10 * MICRO, 1)]


def test_a_count_is_spread_over_its_hours_to_the_millionth(engine: sa.Engine) -> None:
    assert store(engine, a_count(1, 7, MS + 1_234_567, 3 * 3_600_000 + 89))
    assert sum(micro for _, _, micro, _ in hours(engine)) == 7 * MICRO
    assert [hour for _, hour, _, _ in hours(engine)] == [0, 1, 2, 3]


def test_a_count_that_comes_again_is_added_once(engine: sa.Engine) -> None:
    for _ in range(2):
        assert store(engine, a_count(1), a_count(1, 99), a_count(2))
    assert hours(engine) == [("images", 0, 20 * MICRO, 2)]


def test_a_count_that_two_servers_get_at_once_is_added_once(engine: sa.Engine) -> None:
    together, stored = Barrier(2), list[bool]()

    def server() -> None:
        other = open_ledger(engine.url.render_as_string(hide_password=False))
        for number in range(20):
            together.wait(20)
            stored.append(store(other, *(a_count(number * 10 + n) for n in range(10))))
        other.dispose()

    servers = [Thread(target=server) for _ in range(2)]
    for one in servers:
        one.start()
    for one in servers:
        one.join(60)
    assert stored == [True] * 40
    assert hours(engine) == [("images", 0, 2_000 * MICRO, 200)]


def test_counts_that_no_column_can_hold_end_at_a_bound_and_hinder_no_later_post(engine: sa.Engine) -> None:
    for first in range(0, 40, 10):
        assert store(engine, *(a_count(n, 10**12) for n in range(first, first + 10)))
    assert store(engine, a_count(50, 2**60, MS + 3_600_000), a_count(51, 1, MS + 3_600_000))
    (_, _, micro, _), impossible = hours(engine)
    assert MOST_ADDED <= micro < 2**63
    assert impossible[2] == MOST_ADDED


def test_a_count_uses_up_as_much_of_the_day_as_the_hours_that_it_touches(engine: sa.Engine) -> None:
    long = a_count(1, length_ms=5 * 3_600_000)
    assert store(engine, long, most=6)
    assert store(engine, long, most=6)  # the same again costs nothing
    assert not store(engine, a_count(2, length_ms=3_600_000 + 1), most=6)
    assert store(engine, a_count(3), most=6)
    with engine.connect() as connection:
        assert connection.scalar(sa.select(posted_count.c.records)) == 6


def test_a_days_revision_grows_with_each_count_and_no_other_days_does(engine: sa.Engine) -> None:
    day = HOUR // DAY

    def revisions() -> object:
        with engine.connect() as connection:
            return posted_revisions(connection, "default", "images", ["team-a"], day * DAY, (day + 2) * DAY)

    store(engine, a_count(1), a_count(2, start_ms=(day + 1) * DAY * 1000))
    assert revisions() == {("team-a", day): 1, ("team-a", day + 1): 1}
    store(engine, a_count(3), uid="pod-2")
    store(engine, a_count(4, name="tokens"))
    assert revisions() == {("team-a", day): 2, ("team-a", day + 1): 1}


@pytest.mark.parametrize("count", [7, 10**12 + 1])
def test_counts_of_an_earlier_schema_are_there_by_hour_after_the_upgrade(
    new_empty_url: Callable[[], str], count: int
) -> None:
    engine = open_ledger(new_empty_url())
    with engine.begin() as connection:
        config = migrations()
        config.attributes["connection"] = connection
        command.upgrade(config, "0020")
        tables = sa.MetaData()
        tables.reflect(connection, only=["unit_count"])
        spans = [(MS, MS), (MS + 5, MS + 3_600_000), (MS + 7, MS + 31 * 86_400_000), (MS + 9, MS + 40_000_000)]
        rows = [
            {"pod_id": 1, "id": f"u{n}", "name": "images", "count": count, "start_ms": start, "end_ms": end,
             "posted_at": HOUR}
            for n, (start, end) in enumerate(spans)
        ]  # fmt: skip
        connection.execute(sa.insert(tables.tables["unit_count"]), rows)
    migrate(engine)
    wanted: dict[int, int] = {}
    for start, end in spans:
        for hour, micro in spread_count(count * MICRO, start, end):
            wanted[hour] = min(MOST_ADDED, wanted.get(hour, 0) + (micro if count <= 10**12 else MOST_ADDED))
    assert {HOUR + at * 3600: micro for _, at, micro, _ in hours(engine)} == wanted
    engine.dispose()
