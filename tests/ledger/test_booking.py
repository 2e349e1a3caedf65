"""Booking: each report once, exactly, in whatever order they come."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.databases import make_tables
from tests.ledger.ledger_facts import checked, plain, slices, total_uj
from tests.ledger.reports import HOUR, a_report, book, booked

from carbonbudget_core.node_report import PodRequests
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger import writer as writer_module
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.fact_reader import data_through, hours_with_facts, node_spans, read_hour
from carbonbudget_operator.ledger.ledger_engine import LedgerError, open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate, require_schema
from carbonbudget_operator.ledger.time_slices import slice_end, slice_start, spread
from carbonbudget_operator.ledger.writer import LedgerWriter


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
    make_tables(engine)
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
    assert migrate(engine) == "0022"
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


def test_what_is_remembered_of_nodes_and_pods_does_not_grow_with_those_that_are_gone(engine: sa.Engine) -> None:
    booker = Booker(engine)
    for hour in range(30):  # an autoscaler: each hour another node
        book(booker, a_report(HOUR + 3600 * hour, f"node-{hour}", {f"p{hour}": 5}))
        assert len(booker.ids._nodes) == 1
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
