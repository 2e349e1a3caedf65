"""What is dropped goes in small transactions: found by an index, taken up again after an end, and never half seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa
from sqlalchemy.event import listen
from tests.ledger.reports import a_report, book

from carbonbudget_operator.ledger import batch_delete, schema, seal
from carbonbudget_operator.ledger.batch_delete import BatchDeleter, DeletionUnfinished
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.retention import drop_before, drop_earlier_derivations, nothing_before
from carbonbudget_operator.ledger.seal import forget_pods, seal_hour
from carbonbudget_operator.ledger.span_tables import unit_count
from carbonbudget_operator.ledger.stored_units import StoredUnits
from carbonbudget_operator.ledger.valued_rows import ValuedUnit
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR, DAY = 3600, 86_400
FIRST = 1_761_868_800  # 2025-10-31
NOW = FIRST + 40 * DAY
ALL = NOW - NOW % DAY
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
TABLES = (
    schema.hour_revision, schema.node_fact, schema.pod_fact, schema.pod_energy, schema.node_windows, schema.sealed_hour,
    schema.valued_unit, schema.valued_row, schema.grid_hour, schema.cut, schema.node_listed, schema.pod, schema.node,
    schema.node_span, schema.node_count,
)  # fmt: skip


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_delete, "_ROWS", 3)
    monkeypatch.setattr(batch_delete, "_IDS", 5)
    monkeypatch.setattr(batch_delete, "_LEAST_PAUSE_SECONDS", 0)


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """Six hours on two nodes, with several pods each; kept, and something in each table that is read by time."""
    for hour in range(6):
        reports = [
            a_report(FIRST + hour * HOUR, f"n{node}", {f"p{hour}-{node}-{i}": 10**6 + i for i in range(4)})
            for node in range(2)
        ]
        assert set(book(Booker(engine), *reports)) == {BookingResult.STORED}
    deriver = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while deriver.step(NOW) is not None:
        pass
    with engine.begin() as connection:
        figure = {"zone": "DE", "basis": "direct", "seen_at": 1, "mg_per_kwh": 1, "estimated": False}
        series = [{"source": source, "hour": FIRST + h * HOUR} | figure for source in "ab" for h in range(9)]
        connection.execute(sa.insert(schema.grid_hour), series)
        connection.execute(sa.insert(schema.cut), [{"at": FIRST + 60 * i + 1, "namespace": "team-a"} for i in range(9)])
        node = {"cluster": "default", "since": 1}
        listed = [node | {"name": f"n{i}", "uid": f"u{i}", "until": FIRST + i} for i in range(9)]
        connection.execute(sa.insert(schema.node_listed), listed)
        counted = {"cluster": "default", "nodes": 1, "until": 1}
        days = [counted | {"day": FIRST + i * DAY, "kind": kind} for i in range(4) for kind in ("", "EKS Fargate")]
        connection.execute(sa.insert(schema.node_count), days)
    return engine


def left(engine: sa.Engine) -> dict[str, int]:
    """How many rows each table has, but those that have none."""
    with engine.connect() as connection:
        counts = {t.name: connection.scalar(sa.select(sa.func.count()).select_from(t)) or 0 for t in TABLES}
    return {name: count for name, count in counts.items() if count}


def defects(engine: sa.Engine) -> list[str]:
    *_, last = check_ledger(engine)
    return last.defects


def total_uj(engine: sa.Engine, start: int = 0) -> int:
    return sum(sum(row.figures[:3]) for row in ValuedReader(engine, SETTINGS).rows(start, NOW))


def seal_all(engine: sa.Engine) -> None:
    deriver = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while deriver.seal(NOW) is not None:
        pass


def derivation_of(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        found = ValuedReader(engine, SETTINGS).derived.id(connection)
    assert found is not None
    return found


class _Ended(Exception):
    pass


def ends_after(transactions: int) -> Callable[[float], None]:
    """A process that ends after so many of them."""
    still = [transactions]

    def rest(_: float) -> None:
        still[0] -= 1
        if not still[0]:
            raise _Ended

    return rest


@pytest.mark.parametrize("sealed", [False, True])
def test_whatever_lies_before_goes_and_at_no_moment_does_a_part_of_it_show(filled: sa.Engine, sealed: bool) -> None:
    if sealed:
        seal_all(filled)
    seen: list[tuple[list[str], int]] = []
    middle = FIRST + 3 * HOUR
    later = total_uj(filled, middle)
    # Between two transactions: what a check and a question find then.
    drop_before(filled, middle, BatchDeleter(filled, rest=lambda _: seen.append((defects(filled), total_uj(filled)))))
    assert [found for found, _ in seen if found] == []
    # While the revisions go, hour by hour, fewer hours are seen, each whole; from then on the later ones alone.
    assert [uj for _, uj in seen] == sorted((uj for _, uj in seen), reverse=True)
    assert {uj for _, uj in seen[2:]} == {later}
    with filled.connect() as connection:
        assert nothing_before(connection, middle)
        assert connection.scalar(sa.select(sa.func.min(schema.node_fact.c.start))) == middle
        assert connection.scalar(sa.select(sa.func.min(schema.grid_hour.c.hour))) == middle
    drop_before(filled, ALL, BatchDeleter(filled))
    assert left(filled) == {}


def test_no_statement_deletes_more_than_a_few_rows(filled: sa.Engine) -> None:
    deleted: Counter[str] = Counter()
    sizes: list[int] = []

    def after(_connection: object, cursor: sa.CursorResult[object], statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            deleted[statement.split()[2]] += cursor.rowcount
            sizes.append(cursor.rowcount)

    listen(filled, "after_cursor_execute", after)
    drop_before(filled, ALL, BatchDeleter(filled))
    assert {table.name for table in TABLES} - {"sealed_hour"} == {name for name, count in deleted.items() if count}
    assert max(sizes) <= 5
    assert deleted["pod_energy"] == 48


def test_what_is_deleted_is_found_by_an_index(filled: sa.Engine) -> None:
    """On SQLite each statement's plan says so: a scan would hold the lock for as long as the table is long.

    PostgreSQL scans tables as small as these whatever indexes there are.
    """
    if filled.dialect.name != "sqlite":
        return
    seen: list[tuple[str, tuple[object, ...]]] = []
    listen(filled, "before_cursor_execute", lambda _c, _u, statement, given, *_: seen.append((statement, given)))
    seal_all(filled)
    drop_before(filled, ALL, BatchDeleter(filled))
    drop_earlier_derivations(filled, 0, BatchDeleter(filled))
    plans: set[str] = set()
    with filled.connect() as connection:
        for statement, given in [item for item in seen if item[0].startswith("DELETE")]:
            plans |= {row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)}
    assert plans
    # Small tables without a key for it: a row for each sealed hour, and for each node that was ever listed.
    small = ("sealed_hour", "node_listed")
    assert {plan for plan in plans if plan.startswith("SCAN") and plan.split()[1] not in small} == set()


def test_a_drop_that_was_interrupted_goes_on_where_it_was(filled: sa.Engine) -> None:
    calls = 0
    while True:
        calls += 1
        try:
            drop_before(filled, ALL, BatchDeleter(filled, rest=ends_after(2)))
        except _Ended:
            assert defects(filled) == []
            continue
        break
    assert calls > 10
    assert left(filled) == {}


def test_time_that_is_used_up_ends_a_drop_before_its_next_transaction(filled: sa.Engine) -> None:
    before = left(filled)
    with pytest.raises(DeletionUnfinished):
        drop_before(filled, ALL, BatchDeleter(filled, seconds=-1))
    assert left(filled) == before


def test_a_seal_that_was_interrupted_is_whole_and_what_it_left_is_cleared_later(
    filled: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(seal, "BatchDeleter", lambda engine: BatchDeleter(engine, rest=ends_after(1)))
        with pytest.raises(_Ended):
            seal_hour(filled, "default", FIRST, derivation_of(filled), NOW)
    with filled.connect() as connection:
        facts = connection.scalar(sa.select(sa.func.count()).where(schema.pod_fact.c.start == FIRST))
        assert connection.scalars(sa.select(schema.sealed_hour.c.hour)).all() == [FIRST]
    assert facts == 8 - 3
    assert defects(filled) == []
    forget_pods(filled, "default", FIRST + HOUR)
    with filled.connect() as connection:
        assert connection.scalar(sa.select(sa.func.min(schema.pod_fact.c.start))) == FIRST + HOUR
        assert connection.scalar(sa.select(sa.func.count()).where(schema.pod.c.uid.startswith("p0-"))) == 0
    assert defects(filled) == []


def test_an_hour_that_changes_while_it_is_added_up_is_not_sealed(
    filled: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    derivation_id = derivation_of(filled)

    @contextmanager
    def then_a_late_report(engine: sa.Engine) -> Iterator[sa.Connection]:
        with snapshot(engine) as connection:
            yield connection
        assert book(Booker(engine), a_report(FIRST + 120, "n0", {"late": 5})) == [BookingResult.STORED]

    monkeypatch.setattr(seal, "snapshot", then_a_late_report)
    seal_hour(filled, "default", FIRST, derivation_id, NOW)
    assert "sealed_hour" not in left(filled)
    assert defects(filled) == []


def test_units_of_former_settings_stay_whole_once_another_server_has_sealed_an_hour_with_them(
    filled: sa.Engine,
) -> None:
    former, ours = derivation_of(filled), StoredUnits(filled, "ours")
    ours.save(ValuedUnit(0, FIRST, [], []), FIRST + HOUR, "1")
    with filled.connect() as connection:
        own = ours.id(connection)
    assert own is not None
    rows = sa.select(sa.func.count()).where(schema.valued_row.c.derivation_id == former)
    sealed: list[int] = []

    def seal_one(_: float) -> None:
        if not sealed:
            sealed.append(FIRST + 5 * HOUR)
            seal_hour(filled, "default", FIRST + 5 * HOUR, former, NOW)

    with filled.connect() as connection:
        before = connection.scalar(rows)
    drop_earlier_derivations(filled, own, BatchDeleter(filled, rest=seal_one))
    with filled.connect() as connection:
        assert connection.scalar(rows) == before
        assert connection.scalar(sa.select(sa.func.count()).where(schema.derivation.c.id == former)) == 1
    assert defects(filled) == []


def test_rows_that_an_index_finds_go_a_few_at_a_time_and_no_others(engine: sa.Engine) -> None:
    """An hour may have as many counts as pods posted: one transaction for all of them would hold up reports."""
    table, sizes = unit_count, list[int]()
    rows = [
        {"pod_id": n % 2, "id": f"u{n}", "name": "x", "count": 1, "start_ms": 0, "end_ms": 0, "posted_at": n // 7}
        for n in range(14)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(table), rows)

    def rest(_: float) -> None:
        with engine.connect() as connection:
            sizes.append(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)

    BatchDeleter(engine, rest=rest).rows(table, table.c.posted_at < 1)
    assert sizes == [11, 8, 7]
    with engine.connect() as connection:
        assert set(connection.scalars(sa.select(table.c.posted_at))) == {1}
    with pytest.raises(DeletionUnfinished):
        BatchDeleter(engine, seconds=-1).rows(table, table.c.posted_at < 5)
