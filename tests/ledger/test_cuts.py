"""Cuts: a budget that starts or ends inside an hour splits the facts of its own namespace, within bounds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report, book
from tests.postgres import PostgresServer

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.allocation.policy import IdleRule, OverheadRule
from carbonbudget_operator.ledger import cuts as cuts_module
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.cuts import MAX_A_DAY, MAX_AN_HOUR, cuts_at, load_cuts
from carbonbudget_operator.ledger.fact_reader import read_hour
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.report_bounds import MAX_ROWS
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.settings import AllocationSettings, CarbonSettings, Settings
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

TEAMS = ("team-a", "team-b", "team-c")
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))


@pytest.fixture
def writer(engine: sa.Engine) -> Iterator[LedgerWriter]:
    made = LedgerWriter(engine)
    yield made
    made.close()


def cuts(engine: sa.Engine) -> Counter[str]:
    """How many there are, by namespace."""
    with engine.connect() as connection:
        return Counter(connection.scalars(sa.select(schema.cut.c.namespace)))


def count(engine: sa.Engine, table: sa.Table) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def an_hour(teams: Sequence[str] = TEAMS, hour: int = HOUR) -> list[NodeReport]:
    """Sixty windows of a node for each team, with two pods."""
    return [
        a_report(hour + 60 * minute, f"node-{team}", {f"{team}-p": 100 + minute, f"{team}-q": 50}, namespace=team)
        for minute in range(60)
        for team in teams
    ]


def dynamic_uj(engine: sa.Engine, namespace: str, start: int, end: int) -> int:
    return sum(row.figures[0] for row in ValuedReader(engine, SETTINGS).rows(start, end) if row.namespace == namespace)


def test_a_cut_splits_the_pods_of_its_namespace_and_nothing_else(engine: sa.Engine, writer: LedgerWriter) -> None:
    writer.add_cuts([("team-a", HOUR + 90), ("team-a", HOUR + 3600), ("team-a", HOUR - 5)], now=HOUR + 80)
    book(Booker(engine), *(a_report(HOUR + 60 * i, namespace=team, node=team) for i in range(4) for team in TEAMS[:2]))
    with engine.connect() as connection:
        one, other = read_hour(connection, "default", HOUR)
    assert [(item.start, item.end, item.domains["cpu"].measured_uj) for item in (one, other)] == [
        (HOUR, HOUR + 240, 4000)
    ] * 2
    assert [(facts.part, facts.energy_uj["cpu"]) for facts in one.groups] == [
        ((HOUR, HOUR + 90), 600),  # the windows that start before the cut
        ((HOUR + 90, HOUR + 240), 600),  # open still: as far as the node has reported
    ]
    assert [(facts.part, facts.energy_uj["cpu"]) for facts in other.groups] == [(None, 1200)]


def test_the_cluster_s_own_cut_splits_all_namespaces(engine: sa.Engine, writer: LedgerWriter) -> None:
    writer.add_cuts([(EVERY_NAMESPACE, HOUR + 1800)], now=HOUR)
    book(Booker(engine), *an_hour())
    for team in TEAMS:
        assert dynamic_uj(engine, team, HOUR, HOUR + 1800) == sum(150 + minute for minute in range(30))
        assert dynamic_uj(engine, team, HOUR + 1800, HOUR + 3600) == sum(150 + minute for minute in range(30, 60))


def test_a_budget_that_starts_at_an_odd_second_counts_exactly_what_came_from_then_on(
    engine: sa.Engine, writer: LedgerWriter
) -> None:
    writer.add_cuts([("team-a", HOUR + 1021)], now=HOUR)
    book(Booker(engine), *an_hour())
    exact = sum(150 + minute for minute in range(60) if 60 * minute >= 1021)
    assert dynamic_uj(engine, "team-a", HOUR + 1021, HOUR + 3600) == exact
    assert dynamic_uj(engine, "team-b", HOUR + 1021, HOUR + 3600) != exact  # that one is counted pro rata


def test_a_namespace_that_asks_for_every_second_of_an_hour_is_bounded_and_multiplies_its_own_rows_alone(
    engine: sa.Engine, new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    """The reported case: 3,599 cuts in one hour gave every pod of the cluster sixty rows."""
    plain = open_engine(new_url())
    book(Booker(plain), *an_hour())
    writer = LedgerWriter(engine)
    for _ in range(2):
        writer.add_cuts([("team-a", HOUR + second) for second in range(1, 3600)], now=HOUR)
    writer.close()
    book(Booker(engine), *an_hour())
    assert cuts(engine) == {"team-a": MAX_AN_HOUR}
    assert count(engine, schema.node_fact) == count(plain, schema.node_fact)
    of_pods = schema.pod_fact.join(schema.pod, schema.pod.c.id == schema.pod_fact.c.pod_id)
    others = sa.select(sa.func.count()).select_from(of_pods)
    for namespace, most in (("team-a", 1 + MAX_AN_HOUR), ("team-b", 1), ("team-c", 1)):
        query = others.where(schema.pod.c.namespace == namespace)
        with engine.connect() as split, plain.connect() as whole:
            assert split.scalar(query) <= most * whole.scalar(query)
    *_, checked = check_ledger(engine)
    assert checked.defects == []


def test_one_namespace_cannot_use_up_another_s_cuts_nor_those_of_the_cluster(
    engine: sa.Engine, writer: LedgerWriter
) -> None:
    flood = [("team-a", HOUR + 7 * i) for i in range(1, 12_000)]
    for _ in range(2):
        writer.add_cuts(flood, now=HOUR)
    writer.add_cuts([(name, HOUR + 301) for name in ("team-b", EVERY_NAMESPACE)], now=HOUR)
    writer.add_cuts([("team-b", HOUR + 303)], now=HOUR)
    found = cuts(engine)
    assert found["team-a"] <= 2 * MAX_A_DAY
    assert (found["team-b"], found[EVERY_NAMESPACE]) == (1, 1)  # what `*` splits team-b need not split again


def test_a_flood_of_the_hours_to_come_leaves_room_for_the_day_after(engine: sa.Engine, writer: LedgerWriter) -> None:
    day = HOUR - HOUR % 86_400
    writer.add_cuts([("team-a", day + 61 * i) for i in range(1, 1400)], now=day)
    assert cuts(engine) == {"team-a": MAX_A_DAY}
    writer.add_cuts([("team-a", day + 86_400 + 61)], now=day + 86_000)
    assert cuts(engine) == {"team-a": MAX_A_DAY + 1}


def test_ends_in_far_years_are_cut_when_their_day_comes(engine: sa.Engine, writer: LedgerWriter) -> None:
    """Each edit of a budget names another end: none of them is kept before it is near."""
    far = HOUR + 3 * 365 * 86_400
    writer.add_cuts([("team-a", far + 61 * i) for i in range(5_000)], now=HOUR)
    assert cuts(engine) == {}
    writer.add_cuts([("team-a", far + 61)], now=far - 3600)
    assert cuts(engine) == {"team-a": 1}


def test_above_the_bound_of_all_namespaces_each_still_has_one(
    engine: sa.Engine, writer: LedgerWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuts_module, "MAX_A_DAY_IN_ALL", 10)
    writer.add_cuts([(f"ns-{n}", HOUR + 60 * i + 1) for n in range(2) for i in range(5)], now=HOUR)
    writer.add_cuts([(f"later-{n}", HOUR + 60 * i + 1) for n in range(20) for i in range(3)], now=HOUR)
    found = cuts(engine)
    assert all(found[f"ns-{n}"] == 5 for n in range(2))
    assert all(found[f"later-{n}"] == 1 for n in range(20))


def test_cuts_that_are_there_or_cannot_be_hold_up_no_report(engine: sa.Engine, writer: LedgerWriter) -> None:
    """The controller asks for the same ones each minute."""
    wanted = [("team-a", HOUR + 61 * i) for i in range(1, 40)]
    writer.add_cuts(wanted, now=HOUR)
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    with writer._lock:  # a report is being booked
        writer.add_cuts(wanted, now=HOUR)
    assert not [text for text in statements if "BEGIN IMMEDIATE" in text or "advisory" in text or "INSERT" in text]


def test_a_report_that_cuts_alone_make_too_large_is_booked_by_the_hour(engine: sa.Engine) -> None:
    """The reported case: it was refused with 413, and set aside by its agent for good."""
    pods = {f"p{i}": 7 for i in range(250)}
    hours = 300
    gap = a_report(HOUR + hours * 3600, pods=pods, since=HOUR)
    assert 2 * len(pods) * hours < MAX_ROWS < 2 * len(pods) * hours * 2
    with engine.begin() as connection:
        inside = [{"at": HOUR + 3600 * i + 7, "namespace": "team-a"} for i in range(hours)]
        connection.execute(sa.insert(schema.cut), inside)
    assert book(Booker(engine, max_node_watts=10**6), gap) == [BookingResult.STORED]
    *_, checked = check_ledger(engine)
    assert (checked.defects, checked.measured_uj) == ([], gap.domains[0].measured_uj)


def test_a_report_that_is_too_large_without_any_cut_is_refused(engine: sa.Engine) -> None:
    gap = a_report(HOUR + 34 * 86_400, pods={f"p{i}": 0 for i in range(1_500)}, since=HOUR)
    assert book(Booker(engine), gap) == [BookingResult.TOO_LARGE]


INSTANTS = st.tuples(st.sampled_from((*TEAMS, EVERY_NAMESPACE)), st.integers(1, 3 * 3600 - 1).map(lambda s: HOUR + s))
POLICIES = st.builds(
    AllocationSettings,
    idle=st.sampled_from(IdleRule),
    overhead=st.sampled_from(OverheadRule),
    shared=st.sampled_from([{}, {"team-c": "even"}]),
)


@lru_cache
def _postgresql(server: PostgresServer) -> str:
    return server.database()


@pytest.fixture(params=["sqlite", "postgresql"], scope="module")
def again(request: pytest.FixtureRequest) -> Iterator[Callable[[], sa.Engine]]:
    """An empty ledger for each example."""
    engine = open_ledger("sqlite://" if request.param == "sqlite" else _postgresql(request.getfixturevalue("postgres")))
    make_tables(engine)

    def empty() -> sa.Engine:
        with engine.begin() as connection:
            for table in reversed(schema.metadata.sorted_tables):
                connection.execute(sa.delete(table))
        return engine

    yield empty
    engine.dispose()


def mixed(n: int, gap_s: int) -> NodeReport:
    """A node with pods of all teams, after a gap."""
    report = a_report(HOUR + 7200, f"n{n}", {f"p{i}": 10**6 + 7 * i + n for i in range(6)}, HOUR + 7200 - gap_s)
    pods = tuple(replace(pod, namespace=TEAMS[i % 3]) for i, pod in enumerate(report.pods))
    return replace(report, pods=pods)


@settings(max_examples=40, deadline=None)
@given(wanted=st.lists(INSTANTS, max_size=30), gap_s=st.integers(0, 7000), policy=POLICIES)
def test_with_any_cuts_every_hour_conserves_and_other_namespaces_bear_what_they_bore(
    again: Callable[[], sa.Engine], wanted: list[tuple[str, int]], gap_s: int, policy: AllocationSettings
) -> None:
    chosen = Settings(carbon=CarbonSettings(zone="DE", pue=1.2), allocation=policy)
    reports = [mixed(n, gap_s) for n in range(2)]
    reports += [a_report(HOUR + 60 * i, "n0", {f"x{i % 3}": 10**6 + i}, namespace=TEAMS[i % 3]) for i in range(6)]
    found = []
    for instants in ([], wanted):
        engine = again()
        writer = LedgerWriter(engine, max_node_watts=10**6)
        writer.add_cuts(instants, now=HOUR)
        writer.close()
        assert set(book(Booker(engine, max_node_watts=10**6), *reports)) == {BookingResult.STORED}
        *_, checked = check_ledger(engine)
        assert checked.defects == []
        rows = list(ValuedReader(engine, chosen).rows(0, 2**40))
        sums: Counter[tuple[str, int]] = Counter()
        for row in rows:
            for column, figure in enumerate(row.figures):
                sums[(row.namespace, column)] += figure
        assert sum(sums[(name, column)] for name, column in sums if column < 3) == checked.measured_uj
        with engine.connect() as connection:
            split = load_cuts(connection)
        assert all(row.start % 3600 == 0 or row.start in split.of(row.namespace) for row in rows)
        found.append((checked.measured_uj, sums))
    assert found[0][0] == found[1][0]
    whole, parted = found[0][1], found[1][1]
    assert whole.keys() == parted.keys()
    # A row more is a remainder more: one microjoule, or microgram, for each row, domain, node and hour at most.
    assert {key: (whole[key], parted[key]) for key in whole if abs(whole[key] - parted[key]) > 200} == {}


def test_cuts_are_found_by_instant_however_many_are_asked_for(engine: sa.Engine, writer: LedgerWriter) -> None:
    writer.add_cuts([("team-a", HOUR + 61), (EVERY_NAMESPACE, HOUR + 62)], now=HOUR)
    with engine.connect() as connection:
        assert cuts_at(connection, range(HOUR, HOUR + 3000)) == {(HOUR + 61, "team-a"), (HOUR + 62, EVERY_NAMESPACE)}
        assert cuts_at(connection, [HOUR + 63]) == set()
