"""Booking: each report once, exactly, in whatever order they come."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.reports import HOUR, a_report, book, booked
from tests.postgres import PostgresServer

from carbonbudget_core.node_report import PodRequests
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger import writer as writer_module
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.bulk_rows import texts, written_array
from carbonbudget_operator.ledger.consistency import CheckResult, check_ledger
from carbonbudget_operator.ledger.fact_reader import data_through, hours_with_facts, node_spans, read_hour
from carbonbudget_operator.ledger.facts import NodeSlice, PodGroupFacts
from carbonbudget_operator.ledger.slices import slice_end, slice_start, spread
from carbonbudget_operator.ledger.store import LedgerError, migrate, open_ledger, require_schema
from carbonbudget_operator.ledger.writer import LedgerWriter

FIGURES = ("pods", "energy_uj", "idle_uj", "cpu_us", "reserved", "gpu_reserved_ms")


def slices(engine: sa.Engine) -> list[NodeSlice]:
    with engine.connect() as connection:
        hours = hours_with_facts(connection, 0, 2**40)
        return [item for hour in hours for item in read_hour(connection, "default", hour)]


def plain(facts: PodGroupFacts) -> tuple[object, ...]:
    """To compare between two readings."""
    group = facts.group
    return (group.namespace, group.workload, dict(group.labels), *(getattr(facts, name) for name in FIGURES))


def total_uj(engine: sa.Engine) -> int:
    return sum(domain.measured_uj for item in slices(engine) for domain in item.domains.values())


def checked(engine: sa.Engine) -> CheckResult:
    *_, last = check_ledger(engine)
    return last


def test_a_window_becomes_facts(engine: sa.Engine) -> None:
    assert book(Booker(engine), a_report()) == [BookingResult.STORED]
    with engine.connect() as connection:
        assert hours_with_facts(connection, 0, 2**40) == {HOUR: 1}
    (item,) = slices(engine)
    assert (item.node.name, item.start, item.end, item.node.cpu_millicores) == ("node-1", HOUR, HOUR + 60, 2000)
    domain = item.domains["cpu"]
    assert (domain.measured_uj, domain.idle_uj, domain.system_uj, domain.unseen_uj, domain.metered_uj) == (
        1000,
        600,
        90,
        10,
        0,
    )
    (facts,) = item.groups
    assert plain(facts) == ("team-a", "Pod/pod-1", {"app": "pod-1"}, 1, {"cpu": 300}, {}, 3, 6_000_000, 0)


def test_what_comes_twice_counts_once_and_with_other_content_it_is_a_conflict(engine: sa.Engine) -> None:
    booker = Booker(engine)
    other = a_report(pods={"pod-1": 301})
    assert book(booker, a_report(), a_report(), other) == [
        BookingResult.STORED,
        BookingResult.DUPLICATE,
        BookingResult.CONFLICT,
    ]
    assert book(Booker(engine), a_report(), other) == [BookingResult.DUPLICATE, BookingResult.CONFLICT]
    assert total_uj(engine) == 1000


def test_parts_of_a_window_are_both_booked(engine: sa.Engine) -> None:
    book(Booker(engine), a_report(part=0), a_report(part=1))
    assert total_uj(engine) == 2000


def test_the_order_of_arrival_does_not_matter(
    new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    reports = [a_report(HOUR + 60 * i, node, {"p": 7 * i, f"q{i}": 5}) for i in range(120) for node in ("n1", "n2")]
    ledgers = []
    for name in ("in-order", "shuffled"):
        engine = open_engine(new_url())
        if name == "shuffled":
            random.Random(7).shuffle(reports)
        for start in range(0, len(reports), 17):
            book(Booker(engine), *reports[start : start + 17])
        ledgers.append(
            {(s.node.name, s.start): (s.domains, [plain(facts) for facts in s.groups]) for s in slices(engine)}
        )
        with engine.connect() as connection:
            assert data_through(node_spans(connection, "default")) == HOUR + 7200
    assert ledgers[0] == ledgers[1]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5 * 3600), st.integers(0, 10**15), st.integers(0, 10**15)), min_size=1, max_size=6
    )
)
def test_a_report_after_a_gap_is_spread_over_its_hours_exactly(gaps: list[tuple[int, int, int]]) -> None:
    engine = open_ledger("sqlite://")  # in memory: forty times
    migrate(engine)
    start = HOUR + 2 * 3600
    reports = [
        a_report(start, f"node-{i}", {"p": energy}, since=start - gap_s, idle_uj=idle)
        for i, (gap_s, energy, idle) in enumerate(gaps)
    ]
    book(Booker(engine, max_node_watts=10**9), *reports)
    assert checked(engine).defects == []
    found = slices(engine)
    for report, (gap_s, energy, _) in zip(reports, gaps, strict=True):
        mine = [item for item in found if item.node.name == report.node]
        assert sum(item.domains["cpu"].measured_uj for item in mine) == report.domains[0].measured_uj
        assert sum(pod.energy_uj.get("cpu", 0) for item in mine for pod in item.groups) == energy
        assert all(item.start >= start - gap_s - 3600 for item in mine)
    engine.dispose()


def test_labels_that_change_leave_former_facts_as_they_were(engine: sa.Engine) -> None:
    booker = Booker(engine)
    book(booker, a_report(labels={"team": "a"}), a_report(HOUR + 60, labels={"team": "b"}))
    (item,) = slices(engine)
    assert sorted(facts.group.labels["team"] for facts in item.groups) == ["a", "b"]


async def test_a_report_that_the_database_cannot_take_harms_no_other(engine: sa.Engine) -> None:
    poison = a_report(node="node-2")
    pods = (replace(poison.pods[0], requests=PodRequests(2**59, 0, 0)),)
    writer = LedgerWriter(engine)
    with writer._lock:  # so that all three wait and make one batch
        answers = [
            asyncio.ensure_future(booked(writer, report))
            for report in (a_report(), replace(poison, pods=pods), a_report(node="node-3"))
        ]
        await asyncio.sleep(0)
    done = await asyncio.gather(*answers, return_exceptions=True)
    assert [done[0], done[2]] == [BookingResult.STORED, BookingResult.STORED]
    assert isinstance(done[1], LedgerError)
    assert await booked(writer, a_report(HOUR + 60)) is BookingResult.STORED
    writer.close()


@given(st.lists(st.integers(0, 4 * 3600), max_size=8), st.integers(0, 4 * 3600), st.integers(0, 7200))
def test_slices_tile_time(cuts: list[int], start: int, length: int) -> None:
    cuts = sorted(set(cuts))
    parts = spread(start, start + length, cuts)
    assert sum(parts.values()) == length
    for at in (start, start + length):
        begin = slice_start(at, cuts)
        assert begin <= at < slice_end(begin, cuts)
        assert slice_start(slice_end(begin, cuts), cuts) == slice_end(begin, cuts)
        assert begin // 3600 == (slice_end(begin, cuts) - 1) // 3600


def test_check_finds_what_does_not_add_up(engine: sa.Engine) -> None:
    book(Booker(engine), a_report())
    assert (checked(engine).windows, checked(engine).defects) == (1, [])
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE pod_energy SET energy_uj = energy_uj + 1"))
    assert checked(engine).defects == [
        f"node node-1, hour {HOUR}, domain cpu: measured 1000 uJ, but its parts add up to 1001 uJ"
    ]


def test_the_migrations_make_the_schema_and_can_run_again(engine: sa.Engine) -> None:
    assert migrate(engine) == "0013"
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    require_schema(engine)


def test_a_ledger_of_a_later_version_is_left_alone(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match="of a later version: upgrade carbonbudget"):
        migrate(engine)


@pytest.mark.parametrize("url", ["", "nonsense", "mysql://x/y", "sqlite:////no/such/dir/x.db"])
def test_a_ledger_that_cannot_be_opened_is_said_in_a_line(url: str) -> None:
    with pytest.raises(LedgerError) as error:
        migrate(open_ledger(url))
    assert "\n" not in str(error.value)


FULL = {
    "sqlite": ["CREATE TRIGGER too_full BEFORE INSERT ON pod_energy BEGIN SELECT RAISE(ABORT, 'disk full'); END"],
    "postgresql": [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = 'disk_full'; END$$",
        "CREATE TRIGGER too_full BEFORE INSERT ON pod_energy FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}
EMPTY = {"sqlite": "DROP TRIGGER too_full", "postgresql": "DROP TRIGGER too_full ON pod_energy"}


async def test_a_database_that_refuses_stores_nothing_and_is_tried_again(engine: sa.Engine) -> None:
    writer = LedgerWriter(engine)
    with engine.begin() as connection:
        for statement in FULL[engine.dialect.name]:
            connection.exec_driver_sql(statement)
    with pytest.raises(LedgerError, match="the ledger cannot store: disk full"):
        await booked(writer, a_report())
    assert slices(engine) == []
    with engine.begin() as connection:
        connection.exec_driver_sql(EMPTY[engine.dialect.name])
    assert await booked(writer, a_report()) is BookingResult.STORED
    writer.close()


async def test_several_servers_on_one_ledger_book_each_window_once(
    postgres: PostgresServer, open_engine: Callable[[str], sa.Engine]
) -> None:
    """Three servers, and agents that send each report to two of them at once, as after a time-out."""
    url = postgres.database()
    engines = [open_engine(url) for _ in range(3)]
    writers = [LedgerWriter(engine) for engine in engines]
    reports = [
        a_report(HOUR + 60 * minute, f"n{node}", {f"p{node}": 7, "same": 5})
        for minute in range(30)
        for node in range(8)
    ]
    ask = [
        booked(writer, report)
        for i, report in enumerate(reports)
        for writer in (writers[i % 3], writers[i // 3 % 3 - 1])
    ]
    fates = Counter(await asyncio.gather(*ask))
    assert (fates[BookingResult.STORED], fates[BookingResult.STORED] + fates[BookingResult.DUPLICATE]) == (
        len(reports),
        2 * len(reports),
    )
    writers[0].add_cuts([("team-a", HOUR + 1_801)], now=HOUR)
    assert (checked(engines[0]).windows, checked(engines[0]).defects) == (len(reports), [])
    assert total_uj(engines[1]) == 712 * len(reports)
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["restarted", "crashed"])
async def test_while_postgresql_is_away_nothing_is_acknowledged_and_afterwards_all_is_there(
    how: signal.Signals, postgres: PostgresServer, open_engine: Callable[[str], sa.Engine]
) -> None:
    engine = open_engine(postgres.database())
    writer = LedgerWriter(engine)
    first, second = a_report(), a_report(HOUR + 60)
    assert await booked(writer, first) is BookingResult.STORED
    postgres.stop(how)
    try:
        with pytest.raises(LedgerError, match="the ledger cannot store"):
            await booked(writer, second)
    finally:
        postgres.start()
    assert await booked(writer, first) is BookingResult.DUPLICATE
    assert await booked(writer, second) is BookingResult.STORED
    assert (total_uj(engine), checked(engine).defects) == (2000, [])
    writer.close()


async def test_servers_that_start_at_once_make_one_schema(postgres: PostgresServer) -> None:
    url = postgres.database()
    engines = [open_ledger(url) for _ in range(4)]
    made = await asyncio.gather(*(asyncio.to_thread(migrate, engine) for engine in engines))
    assert set(made) == {"0013"}
    for engine in engines:
        engine.dispose()


def test_two_processes_on_one_ledger_book_each_window_once(engine: sa.Engine, url: str) -> None:
    """A server, and `ledger import` beside it."""
    other = open_ledger(url)
    reports = [a_report(HOUR + 60 * minute, f"n{node}") for minute in range(30) for node in range(3)]
    fates: Counter[BookingResult] = Counter()

    def run(mine: sa.Engine) -> None:
        booker = Booker(mine)
        for report in reports:
            fates.update(book(booker, report))

    threads = [threading.Thread(target=run, args=(mine,)) for mine in (engine, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.dispose()
    assert fates == {BookingResult.STORED: len(reports), BookingResult.DUPLICATE: len(reports)}
    assert (checked(engine).windows, total_uj(engine)) == (len(reports), 1000 * len(reports))


async def test_servers_that_book_each_others_former_hours_do_not_wait_for_each_other(
    postgres: PostgresServer, open_engine: Callable[[str], sa.Engine]
) -> None:
    """After a gap a report adds to hours in which another server books the same nodes in another order."""
    url = postgres.database()
    writers = [LedgerWriter(open_engine(url)) for _ in range(3)]
    gaps = [a_report(HOUR + 7200 + 60 * i, f"n{n}", {"p": 7, "q": 5}, since=HOUR) for i in range(9) for n in range(8)]
    # Nine gaps over the same hours: meters and pods were there for a minute of them, else the hours could not hold all.
    after = [
        replace(
            report,
            domains=(replace(report.domains[0], duration_ms=60_000),),
            pods=tuple(replace(pod, duration_ms=60_000) for pod in report.pods),
        )
        for report in gaps
    ]
    late = [a_report(HOUR + 60 * i, f"n{n}", {"q": 5, "p": 7}) for i in range(9) for n in reversed(range(8))]
    ask = [booked(writers[i % 3], report) for reports in (after, late) for i, report in enumerate(reports)]
    assert Counter(await asyncio.gather(*ask)) == {BookingResult.STORED: len(after) + len(late)}
    for writer in writers:
        writer.close()
    engine = open_engine(url)
    assert checked(engine).defects == []
    assert total_uj(engine) == 712 * (len(after) + len(late))


def test_what_is_remembered_of_nodes_and_pods_does_not_grow_with_those_that_are_gone(engine: sa.Engine) -> None:
    booker = Booker(engine)
    for hour in range(30):  # an autoscaler: each hour another node
        book(booker, a_report(HOUR + 3600 * hour, f"node-{hour}", {f"p{hour}": 5}))
        assert len(booker._ids._nodes) == 1
    assert checked(engine).defects == []


def test_a_pod_that_was_sealed_away_and_comes_back_is_booked_anew(engine: sa.Engine) -> None:
    """Its node was cut off for longer than pods are kept; the server went on with what it remembered."""
    booker = Booker(engine)
    book(booker, a_report(HOUR))
    with engine.begin() as connection:  # what sealing does to its hour and its pod
        for table in ("pod_hour", "pod_energy", "pod", "node_windows", "label_set"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
        connection.execute(
            sa.insert(schema.sealed_hour).values(cluster="default", hour=HOUR, derivation_id=1, sealed_at=1)
        )
    assert book(booker, a_report(HOUR + 3600)) == [BookingResult.STORED]
    with engine.connect() as connection:
        (item,) = read_hour(connection, "default", HOUR + 3600)
    assert [plain(facts)[:3] for facts in item.groups] == [("team-a", "Pod/pod-1", {"app": "pod-1"})]


def test_a_node_that_makes_windows_up_is_stopped_at_more_than_an_hour_can_have(engine: sa.Engine) -> None:
    booker = Booker(engine)
    fates = Counter(book(booker, *(replace(a_report(part=part, pods={}), domains=()) for part in range(1010))))
    assert fates == {BookingResult.STORED: 1000, BookingResult.TOO_MANY: 10}
    again = replace(a_report(part=3, pods={}), domains=())
    assert book(booker, again, a_report(HOUR + 3600)) == [BookingResult.DUPLICATE, BookingResult.STORED]


def test_a_report_of_more_rows_than_any_node_has_is_refused_and_one_beside_it_stored(engine: sa.Engine) -> None:
    booker = Booker(engine)
    pods = {f"p{i}": 0 for i in range(1_500)}
    month = a_report(HOUR + 34 * 86_400, pods=pods, since=HOUR)  # 1,500 pods in each of 816 hours
    assert book(booker, month, a_report(node="node-2")) == [BookingResult.TOO_LARGE, BookingResult.STORED]
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM pod_hour")) == 1
    fewer = a_report(HOUR + 34 * 86_400, pods={f"p{i}": 0 for i in range(100)}, since=HOUR)
    assert book(booker, fewer) == [BookingResult.STORED]


async def test_reports_that_are_much_at_once_are_committed_one_by_one(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "MAX_ROWS", 500)
    writer = LedgerWriter(engine)
    pods = {f"p{i}": 0 for i in range(100)}
    gaps = [a_report(HOUR + 7_200, f"n{i}", pods, since=HOUR) for i in range(3)]
    with writer._lock:  # all wait while it is held
        waiting = [asyncio.ensure_future(booked(writer, report)) for report in (a_report(), *gaps)]
        await asyncio.sleep(0)
    assert set(await asyncio.gather(*waiting)) == {BookingResult.STORED}
    assert writer.batches >= 3  # the first may be taken before the others have come
    writer.close()


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), min_size=1, max_size=9))
def test_texts_are_written_as_postgresql_reads_them(postgres: PostgresServer, values: list[str]) -> None:
    engine = open_ledger(_one_database(postgres))
    with engine.connect() as connection:
        found = connection.execute(sa.select(sa.func.unnest(written_array("a", sa.String()))), {"a": texts(values)})
        assert list(found.scalars()) == values
    engine.dispose()


@lru_cache
def _one_database(postgres: PostgresServer) -> str:
    return postgres.database()
