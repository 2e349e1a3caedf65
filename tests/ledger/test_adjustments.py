"""Adjustments in the ledger: the first of a key stays, a group is one, and nothing but time removes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR

from carbonbudget_operator.ledger import booked_adjustments
from carbonbudget_operator.ledger.batch_delete import BatchDeleter
from carbonbudget_operator.ledger.booked_adjustments import (
    KEPT_SECONDS,
    BookedAdjustment,
    book_adjustments,
    drop_adjustments_before,
    read_adjustments,
)
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.ledger_copy import copy_ledger
from carbonbudget_operator.ledger.ledger_engine import open_ledger

OCTOBER, NOVEMBER, DECEMBER = 1790812800, 1793491200, 1796083200
KG = 10**9


def row(
    micrograms: int, reason: str = "Overspend", source: str = "s", name: str = "monthly", start: int = NOVEMBER
) -> BookedAdjustment:
    return BookedAdjustment("team-a", name, start, start + 30 * 86_400, reason, source, micrograms)


def read(engine: sa.Engine, name: str = "monthly", start: int = NOVEMBER, cluster: str = "c") -> list[int]:
    with engine.connect() as connection:
        return [each.micrograms for each in read_adjustments(connection, cluster, [("team-a", name, start)])]


def book(engine: sa.Engine, *groups: Sequence[BookedAdjustment], cluster: str = "c", now: int = HOUR) -> list[int]:
    return book_adjustments(engine, cluster, groups, now)


def test_what_is_booked_is_read_in_the_order_of_booking(engine: sa.Engine) -> None:
    assert book(engine, [row(-KG)], [row(-2, source="t")]) == [0, 1]
    assert book(engine, [row(3, "CarryOver")]) == [0]
    assert read(engine) == [-KG, -2, 3]
    with engine.connect() as connection:
        (first, *_) = read_adjustments(connection, "c", [("team-a", "monthly", NOVEMBER)])
    assert first == row(-KG)._replace(booked_at=HOUR)


def test_the_first_of_a_key_stays(engine: sa.Engine) -> None:
    book(engine, [row(-1)])
    assert book(engine, [row(-2)]) == []
    assert book(engine, [row(-3, source="t")], [row(-4, source="t")]) == [0]
    assert read(engine) == [-1, -3]


def test_a_group_is_booked_whole_or_not_at_all(engine: sa.Engine) -> None:
    book(engine, [row(-1, "TransferOut", "uid")])
    both = [row(-1, "TransferOut", "uid"), row(1, "TransferIn", "uid", "other")]
    assert book(engine, both) == []
    assert read(engine, "other") == []


@pytest.mark.parametrize(("start", "cluster"), [(OCTOBER, "c"), (NOVEMBER, "other")])
def test_other_periods_and_other_clusters_have_their_own(engine: sa.Engine, start: int, cluster: str) -> None:
    book(engine, [row(-1)])
    assert read(engine, start=start, cluster=cluster) == []
    assert book(engine, [row(-2, start=start)], cluster=cluster) == [0]
    assert read(engine) == [-1]


def test_two_who_book_at_once_book_once(engine: sa.Engine, url: str) -> None:
    engines = [open_ledger(url) for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as threads:
            booked = list(threads.map(lambda one: book(one, *([row(-n, source=str(n))] for n in range(50))), engines))
    finally:
        for one in engines:
            one.dispose()
    assert sorted(index for indexes in booked for index in indexes) == list(range(50))
    assert sorted(read(engine)) == sorted(-n for n in range(50))


def test_transfers_and_credits_into_one_period_are_bounded_and_what_closes_it_is_not(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(booked_adjustments, "MOST_IN_A_PERIOD", 3)
    assert book(engine, *([row(1, "Credit", str(n))] for n in range(5))) == [0, 1, 2]
    out = [row(-1, "TransferOut", "uid"), row(1, "TransferIn", "uid", "other")]
    assert book(engine, out) == []
    assert book(engine, [row(-1)], [row(0, "CarryOver")]) == [0, 1]


def test_many_groups_are_booked_in_several_transactions(engine: sa.Engine) -> None:
    groups = [[row(-1, name=f"b{n}")] for n in range(1_203)]
    assert book(engine, *groups) == list(range(1_203))
    assert book(engine, *groups) == []


def test_they_go_two_years_after_the_facts_of_their_period_and_not_before(engine: sa.Engine) -> None:
    book(engine, [row(-1, start=OCTOBER)], [row(-2)])
    end = OCTOBER + 30 * 86_400
    drop_adjustments_before(engine, end + KEPT_SECONDS, BatchDeleter(engine, 60))
    assert read(engine, start=OCTOBER) == [-1]
    drop_adjustments_before(engine, end + KEPT_SECONDS + 1, BatchDeleter(engine, 60))
    assert read(engine, start=OCTOBER) == []
    assert read(engine) == [-2]


def test_a_copy_has_them_and_goes_on_and_the_check_finds_no_fault(
    engine: sa.Engine, new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine], tmp_path: Path
) -> None:
    book(engine, [row(-1)])
    other = open_engine(new_url())
    assert dict(copy_ledger(engine, other))["adjustment"] == 1
    assert book(other, [row(-1)], [row(-2, source="t")]) == [1]
    assert read(other) == [-1, -2]
    *_, last = check_ledger(other)
    assert last.defects == []


def test_one_months_adjustments_are_found_by_an_index(engine: sa.Engine) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL plans by its statistics")
    with engine.connect() as connection:
        query = "EXPLAIN QUERY PLAN SELECT * FROM adjustment WHERE cluster = 'c' AND period_start IN (1, 2)"
        plan = " ".join(str(cells) for cells in connection.exec_driver_sql(query))
    assert "adjustment_period" in plan
