"""What is kept of time that is over: the same answers, sooner; never older than the facts or the settings."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.event import listen
from tests.ledger.reports import a_report, book

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.grouping import group_rows
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.batch_delete import BatchDeleter
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.consistency import check_ledger
from carbonbudget_operator.ledger.fact_reader import read_hour, read_nodes
from carbonbudget_operator.ledger.facts import NodeFacts
from carbonbudget_operator.ledger.retention import drop_before
from carbonbudget_operator.ledger.seal import seal_hour
from carbonbudget_operator.ledger.stored_units import (
    DAYS,
    HOURS,
    LEVELS,
    MONTHS,
    NAMESPACE_DAYS,
    QUARTERS,
    STORED_LEVELS,
    THIRDS,
    StoredUnits,
)
from carbonbudget_operator.ledger.unreadable_rows import left_out
from carbonbudget_operator.ledger.valued_rows import (
    COLUMNS,
    EMBODIED_UG,
    ENERGY_UJ,
    FACILITY_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    ValuedRow,
    ValuedUnit,
)
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valuation.places import NodeHardware, Places
from carbonbudget_operator.valued_hours.unit_calendar import plan_units, signatures, unit_end, unit_of
from carbonbudget_operator.valued_hours.upkeep_steps import UnitError, UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

DAY = 1_761_868_800  # 2025-10-31: the last day of a month
HOUR = 3600
NOW = DAY + 40 * 86_400
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))


def some_reports() -> list[NodeReport]:
    """Three days over a month's end, two windows in some hours."""
    return [
        a_report(DAY + hour * HOUR + 60 * minute, node, {f"p{hour % 3}": 10**9 + hour}, labels={"team": f"t{hour % 4}"})
        for hour in range(0, 72, 5)
        for minute in (0, 17)
        for node in ("n1", "n2")
    ]


def test_hours_with_many_gaps_between_them_add_up(engine: sa.Engine) -> None:
    """Each stretch is a range of its own, and one statement takes so many."""
    kept = ValuedReader(engine, SETTINGS).derived
    hours = [DAY + hour * HOUR for hour in range(0, 450, 2)]
    for n, hour in enumerate(hours):
        rows = [
            ValuedRow(hour, hour + HOUR, "", "Scope 2", "team", name, {}, [n + 1] * COLUMNS, frozenset({"f"}))
            for name in ("Job/a", "Job/b")
        ]
        kept.save(ValuedUnit(HOURS, hour, rows, []), hour + HOUR, "1")
    with engine.connect() as connection:
        found = kept.total(connection, [(HOURS, hour) for hour in hours], DAY, NOW)
    sums = Counter[str]()
    for row in found:
        sums[row.workload] += row.figures[EMBODIED_UG]
    assert sums == {name: sum(range(1, len(hours) + 1)) for name in ("Job/a", "Job/b")}


def test_a_unit_that_could_not_be_kept_leaves_no_id_to_keep_the_next_under(engine: sa.Engine) -> None:
    """Another server's settings may get the id that was rolled back."""
    ours, others = StoredUnits(engine, "ours"), StoredUnits(engine, "others")
    row = ValuedRow(DAY, DAY + HOUR, "", "Scope 2", "team", "Job/a", {}, [1] * COLUMNS, frozenset({"f"}))
    unit = ValuedUnit(HOURS, DAY, [row], [])
    too_large = ValuedUnit(HOURS, DAY, [replace(row, figures=[2**64] * COLUMNS)], [])  # no database's integer
    with pytest.raises((OverflowError, sa.exc.DBAPIError)):
        ours.save(too_large, DAY + HOUR, "1")
    others.save(unit, DAY + HOUR, "1")
    with engine.connect() as connection:
        assert ours.id(connection) is None
    ours.save(unit, DAY + HOUR, "1")
    with engine.connect() as connection:
        assert ours.id(connection) != others.id(connection)
        assert ours.load(connection, HOURS, DAY).rows == others.load(connection, HOURS, DAY).rows == [row]


@pytest.fixture
def filled(engine: sa.Engine) -> Iterator[sa.Engine]:
    book(Booker(engine), *some_reports())
    return engine


def keep(engine: sa.Engine, settings: Settings = SETTINGS) -> Counter[int]:
    """All that can be kept; how many units of each level were made."""
    deriver, made = UpkeepSteps(ValuedReader(engine, settings), 35, 25), Counter()
    while (key := deriver.step(NOW)) is not None:
        made[key[0]] += 1
    return made


def sums(rows: list[ValuedRow]) -> dict[object, list[int]]:
    found: dict[object, list[int]] = {}
    for row in rows:
        total = found.setdefault((row.scope, row.namespace, row.workload, str(row.labels)), [0] * 6)
        for at, figure in enumerate((
            sum(row.figures[ENERGY_UJ]), sum(row.figures[LOCATION_UG]), sum(row.figures[MARKET_UG]),
            row.figures[METERED_UJ], row.figures[EMBODIED_UG], row.figures[FACILITY_UJ],
        )):  # fmt: skip
            total[at] += figure
    return found


ALL = Counter({HOURS: 15, QUARTERS: 12, DAYS: 3, THIRDS: 2, MONTHS: 2, NAMESPACE_DAYS: 3})
SPANS = [(0, 2**40), (DAY, DAY + 86_400), (DAY + 1800, DAY + 50 * HOUR + 7), (DAY + 86_400, NOW), (NOW, NOW + 60)]


@pytest.mark.parametrize("span", SPANS)
def test_what_is_kept_answers_as_the_facts_do(filled: sa.Engine, span: tuple[int, int]) -> None:
    from_facts = sums(list(ValuedReader(filled, SETTINGS).rows(*span)))
    query = BudgetQuery(id="x", namespaces=["team-a"], start=span[0], end=span[1])
    (answer,) = BudgetUseQueries(ValuedReader(filled, SETTINGS)).budgets([query])
    keep(filled)
    assert sums(list(ValuedReader(filled, SETTINGS).rows(*span))) == from_facts
    (kept,) = BudgetUseQueries(ValuedReader(filled, SETTINGS)).budgets([query])
    assert kept == answer


def test_each_unit_is_kept_once_and_the_longest_are_read(filled: sa.Engine) -> None:
    assert keep(filled) == ALL
    assert keep(filled) == {}
    with filled.connect() as connection:
        units = ValuedReader(filled, SETTINGS).units(connection, 0, NOW)
    assert Counter(level for level, _ in units) == {MONTHS: 2}


def test_energy_beyond_64_bits_is_added_up_all_the_same(engine: sa.Engine) -> None:
    """2.56 GWh are 2^63 microjoules: some weeks of a large cluster's idle. SQLite's own sum ends there."""
    reports = [a_report(DAY + hour * HOUR, "n1", {"p": 5 * 10**17}, labels={}) for hour in range(24)]
    book(Booker(engine, max_node_watts=10**12), *reports)  # one node stands for all
    expected = sum(report.domains[0].measured_uj for report in reports)
    deriver = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while deriver.step(NOW) is not None:
        pass
    assert deriver.step(NOW) is None  # what does not fit is not tried again and again
    assert sum(sum(row.figures[ENERGY_UJ]) for row in ValuedReader(engine, SETTINGS).rows(0, NOW)) == expected
    assert len(seal(engine, NOW)) == 24
    *_, checked = check_ledger(engine)
    assert (checked.defects, checked.measured_uj) == ([], expected)


def test_a_report_that_comes_late_makes_all_units_of_its_hour_anew(filled: sa.Engine) -> None:
    keep(filled)
    book(Booker(filled), a_report(DAY + 600, "n1", {"late": 5}))
    assert sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW))) == sums(
        list(ValuedReader(filled, SETTINGS).rows(0, NOW))
    )
    (late,) = [row for row in ValuedReader(filled, SETTINGS).rows(0, NOW) if row.workload == "Pod/late"]
    assert late.figures[0] == 5
    assert keep(filled) == dict.fromkeys(STORED_LEVELS, 1)


def test_hours_that_still_change_wait_and_what_is_made_of_them_too(filled: sa.Engine) -> None:
    deriver = UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25)

    def a_round() -> Counter[int]:
        made: Counter[int] = Counter()
        deriver.begin(NOW)
        while (key := deriver.step(NOW)) is not None:
            made[key[0]] += 1
        return made

    assert a_round() == {}  # whether they change is not known yet
    booker = Booker(filled)
    book(booker, a_report(DAY + 120, "n1", {"late": 5}))
    assert a_round() == ALL - Counter(STORED_LEVELS)
    assert a_round() == dict.fromkeys(STORED_LEVELS, 1)
    assert a_round() == {}
    assert keep(filled) == {}


def test_a_round_with_nothing_to_keep_asks_one_question(filled: sa.Engine) -> None:
    """Each server has one every half minute, over all the hours of two years."""
    deriver = UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25)
    while deriver.step(NOW) is not None:
        pass
    statements: list[str] = []
    listen(filled, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert deriver.step(NOW + 60) is None
    assert len([text for text in statements if "hour_revision" in text]) == 1
    assert not any("valued" in text for text in statements)
    book(Booker(filled), a_report(DAY + 660, "n1", {"late": 5}))
    assert deriver.step(NOW + 90) == (HOURS, DAY)


def test_other_settings_are_another_derivation(filled: sa.Engine) -> None:
    keep(filled)
    other = Settings(carbon=CarbonSettings(zone="FR", pue=1.2))
    german, french = (sum(g.location_ug for g in group_rows(ValuedReader(filled, s).rows(0, NOW), ["namespace"], []))
                      for s in (SETTINGS, other))  # fmt: skip
    assert french < german / 2
    assert keep(filled, other) == ALL
    assert keep(filled) == {}


def test_an_hour_is_kept_only_when_it_is_over(filled: sa.Engine) -> None:
    deriver = UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25)
    assert deriver.step(DAY + HOUR + 899) is None
    assert deriver.step(DAY + HOUR + 900) == (HOURS, DAY)


HOUR_SETS = st.sets(st.integers(0, 24 * 70).map(lambda n: DAY + n * HOUR), max_size=40)


@given(HOUR_SETS, st.integers(-5 * HOUR, 80 * 86_400), st.integers(1, 80 * 86_400), st.data())
def test_a_plan_holds_each_hour_of_the_span_once(hours: set[int], after: int, length: int, data: st.DataObject) -> None:
    start, end = DAY + after, DAY + after + length
    inside = sorted(hour for hour in hours if hour + HOUR > start and hour < end)
    units = sorted(signatures(dict.fromkeys(inside, 1)))
    valid = {key: "" for key in units if data.draw(st.booleans())}
    found = plan_units(start, end, inside, valid)
    covered = Counter(hour for level, at in found for hour in inside if at <= hour < unit_end(at, level))
    assert covered == dict.fromkeys(inside, 1)
    for level, at in found:
        assert level == HOURS or (start <= at and unit_end(at, level) <= end and (level, at) in valid)


@given(st.integers(0, 4 * 10**9), st.sampled_from(LEVELS))
def test_units_tile_time(at: int, level: int) -> None:
    start = unit_of(at, level)
    assert start <= at < unit_end(start, level)
    assert unit_of(unit_end(start, level), level) == unit_end(start, level)
    assert level == HOURS or unit_of(start, level - 1) == start
    if level in (THIRDS, MONTHS):
        assert dt.datetime.fromtimestamp(start, dt.UTC).day in ({1, 11, 21} if level == THIRDS else {1})


def seal(engine: sa.Engine, now: int, settings: Settings = SETTINGS) -> list[int]:
    deriver, sealed = UpkeepSteps(ValuedReader(engine, settings), 35, 25), []
    while (unit := deriver.seal(now)) is not None:
        sealed.append(unit[1])
    return sealed


def test_a_sealed_hour_gives_up_its_pods_and_keeps_its_answers(filled: sa.Engine) -> None:
    before = sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW)))
    assert seal(filled, NOW) == []  # nothing is kept yet
    keep(filled)
    assert len(seal(filled, DAY + 37 * 86_400)) == 5  # the first day's
    assert len(seal(filled, NOW)) == 10
    assert sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW))) == before
    assert sums(list(ValuedReader(filled, SETTINGS).rows(DAY + 1800, NOW - 1800))).keys() <= before.keys()
    with filled.connect() as connection:
        for table in ("pod_hour", "pod_energy", "pod", "node_windows"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == 0, table
    *_, checked = check_ledger(filled)
    assert (checked.defects, checked.slices) == ([], 30)
    by_node = list(ValuedReader(filled, SETTINGS).rows(0, NOW, by_node=True))
    assert {row.node for row in by_node} == {"__sealed__"}
    assert sums(by_node) == before


def test_settings_that_change_later_do_not_touch_what_is_sealed(filled: sa.Engine) -> None:
    keep(filled)
    seal(filled, DAY + 37 * 86_400)  # the first day
    french = Settings(carbon=CarbonSettings(zone="FR", pue=1.2))
    day = (DAY, DAY + 86_400)
    german = sums(list(ValuedReader(filled, SETTINGS).rows(*day)))
    assert sums(list(ValuedReader(filled, french).rows(*day))) == german
    keep(filled, french)
    assert sums(list(ValuedReader(filled, french).rows(*day))) == german
    later = (DAY + 86_400, NOW)
    assert sums(list(ValuedReader(filled, french).rows(*later))) != sums(
        list(ValuedReader(filled, SETTINGS).rows(*later))
    )


def test_what_former_settings_left_is_dropped_when_the_new_ones_have_settled(filled: sa.Engine) -> None:
    keep(filled)
    seal(filled, DAY + 37 * 86_400)  # the first day, under the former settings
    french = Settings(carbon=CarbonSettings(zone="FR", pue=1.2))
    keep(filled, french)
    before = sums(list(ValuedReader(filled, french).rows(0, NOW)))
    deriver = UpkeepSteps(ValuedReader(filled, french), 35, 25)

    def derivations() -> Counter[int]:
        with filled.connect() as connection:
            return Counter(connection.scalars(sa.text("SELECT derivation_id FROM valued_unit")))

    deriver.drop(NOW)
    former, latest = sorted(derivations())
    assert derivations()[former] > 4
    for _ in range(3):
        deriver.drop(NOW + 3600)
    assert set(derivations()) == {former, latest}  # sealed hours were made with it: it stays whole
    with filled.begin() as connection:
        connection.execute(sa.text("DELETE FROM sealed_hour"))
    for _ in range(3):
        deriver.drop(NOW + 3600)
    assert set(derivations()) == {latest}
    with filled.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM derivation")) == 1
        assert (
            connection.scalar(sa.text("SELECT count(*) FROM valued_row WHERE derivation_id = :id"), {"id": former}) == 0
        )
    assert before


def test_a_report_of_a_sealed_hour_is_refused_and_changes_nothing(filled: sa.Engine) -> None:
    keep(filled)
    seal(filled, DAY + 37 * 86_400)
    assert book(Booker(filled), a_report(DAY + 600, "n1", {"late": 5}), a_report(DAY + 30 * HOUR)) == [
        BookingResult.SEALED, BookingResult.STORED,
    ]  # fmt: skip
    *_, checked = check_ledger(filled)
    assert checked.defects == []


def test_rows_that_were_tampered_with_are_found_by_the_check_and_hinder_a_seal(filled: sa.Engine) -> None:
    keep(filled)
    with filled.begin() as connection:
        connection.exec_driver_sql("UPDATE valued_row SET idle_uj = idle_uj + 1 WHERE level = 0")
    with pytest.raises(UnitError, match="were measured, its rows hold"):
        seal(filled, NOW)


def test_after_its_time_an_hour_is_dropped_with_all_that_was_kept_of_it(filled: sa.Engine) -> None:
    keep(filled)
    seal(filled, NOW)
    UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 2).drop(NOW + 40 * 86_400)  # in January: November is kept
    rows = list(ValuedReader(filled, SETTINGS).rows(0, NOW))
    assert rows
    assert min(row.start for row in rows) >= 0
    with filled.connect() as connection:
        assert connection.exec_driver_sql("SELECT min(start) FROM node_hour").scalar() >= DAY + 86_400
    *_, checked = check_ledger(filled)
    assert checked.defects == []
    UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 2).drop(NOW + 90 * 86_400)
    assert list(ValuedReader(filled, SETTINGS).rows(0, NOW)) == []


def test_nodes_are_forgotten_with_the_last_of_their_hours(filled: sa.Engine) -> None:
    book(Booker(filled), a_report(DAY - 86_400, "spot"), a_report(DAY - 86_400, "stays"))
    book(Booker(filled), a_report(NOW, "stays"))

    def nodes(table: str = "node") -> set[str]:
        with filled.connect() as connection:
            key = "id" if table == "node" else "node_id"
            return set(connection.scalars(sa.text(f"SELECT name FROM node WHERE id IN (SELECT {key} FROM {table})")))

    assert nodes() == nodes("node_span") == {"spot", "stays", "n1", "n2"}
    drop_before(filled, DAY, BatchDeleter(filled))
    assert nodes() == nodes("node_span") == {"stays", "n1", "n2"}
    book(Booker(filled), a_report(NOW, "spot"))  # it comes back
    drop_before(filled, NOW - NOW % HOUR, BatchDeleter(filled))
    assert nodes() == nodes("node_span") == {"stays", "spot"}
    *_, checked = check_ledger(filled)
    assert (checked.nodes, checked.pods, checked.defects) == (2, 2, [])


def test_an_hour_costs_by_its_own_nodes_not_by_all_that_ever_were(filled: sa.Engine) -> None:
    with filled.begin() as connection:
        former = [{"id": n, "cluster": "default", "name": f"former-{n}"} for n in range(1000, 3000)]
        connection.execute(sa.insert(schema.node), former)
        spans = [{"node_id": node["id"], "first_start": DAY, "last_end": DAY + 60} for node in former]
        connection.execute(sa.insert(schema.node_span), spans)
    with filled.connect() as connection:
        assert {node.name for node in read_nodes(connection, "default", DAY).values()} == {"n1", "n2"}
        assert len(read_nodes(connection, "default")) == 2002
        assert len(read_hour(connection, "default", DAY)) == 2
        assert read_hour(connection, "default", DAY + HOUR) == []


def test_a_pod_that_goes_on_outlives_the_sealing_of_its_first_hours(filled: sa.Engine) -> None:
    keep(filled)
    assert len(seal(filled, DAY + 37 * 86_400)) == 5  # the first day's
    with filled.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM pod")) > 0
        orphans = "SELECT count(*) FROM pod_hour WHERE pod_id NOT IN (SELECT id FROM pod)"
        assert connection.scalar(sa.text(orphans)) == 0
    before = sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW)))
    seal(filled, NOW)
    assert sums(list(ValuedReader(filled, SETTINGS).rows(0, NOW))) == before


def test_two_servers_seal_an_hour_once(filled: sa.Engine) -> None:
    keep(filled)
    deriver = UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25)
    assert deriver.seal(NOW) == (HOURS, DAY)
    with filled.connect() as connection:
        derivation_id = ValuedReader(filled, SETTINGS).derived.id(connection)
    assert derivation_id is not None
    seal_hour(filled, "default", DAY, derivation_id, NOW + 5)  # another one that had not seen it yet
    with filled.connect() as connection:
        assert connection.scalars(sa.text("SELECT sealed_at FROM sealed_hour")).all() == [NOW]


def test_what_sealing_costs_grows_with_the_hour_and_not_with_its_square(
    new_url: Callable[[], str], open_engine: Callable[[str], sa.Engine]
) -> None:
    """Counted in statements: it took 97 s for 30,000 pods. Pods are forgotten some hundreds at a time."""
    counts = []
    for nodes in (2, 40):
        engine = open_engine(new_url())
        reports = [a_report(DAY, f"n{node}", {f"p{node}-{pod}": 5 for pod in range(30)}) for node in range(nodes)]
        book(Booker(engine), *reports)
        keep(engine)
        statements: list[str] = []
        listen(engine, "before_cursor_execute", lambda *args, seen=statements: seen.append(args[2]))
        assert seal(engine, NOW) == [DAY]
        counts.append(len(statements))
    assert counts[1] - counts[0] <= 2 * (40 * 30 // 200)


def test_a_node_that_cannot_be_valued_is_left_out_and_its_hour_is_kept_and_sealed(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    book(Booker(engine), *(a_report(DAY, node, {f"p-{node}": 300}, labels={}) for node in ("n1", "n2", "n3")))
    hardware = Places.hardware

    def poisoned(places: Places, node: NodeFacts, gpus: int | None = None) -> NodeHardware:
        if node.name == "n2":
            raise OverflowError("more GPUs than a figure can hold")
        return hardware(places, node, gpus)

    monkeypatch.setattr(Places, "hardware", poisoned)
    left_out._node_hours.clear()
    assert keep(engine)[HOURS] == 1
    rows = list(ValuedReader(engine, SETTINGS).rows(DAY, DAY + HOUR))
    assert {row.workload for row in rows if row.workload} == {"Pod/p-n1", "Pod/p-n3"}
    assert left_out.node_hours == 1
    assert seal(engine, NOW) == [DAY]


def test_figures_that_no_database_holds_are_left_out_with_their_node(engine: sa.Engine) -> None:
    figures = {f"n{n}": 2**58 for n in range(4)} | {"n4": 300}
    reports = [a_report(DAY, node, {"p": uj}, labels={}) for node, uj in figures.items()]
    book(Booker(engine, max_node_watts=10**12), *reports)
    far = Settings(carbon=CarbonSettings(zone="WORLD", pue=5.0))
    left_out._node_hours.clear()
    deriver = UpkeepSteps(ValuedReader(engine, far), 35, 25)
    while deriver.step(NOW) is not None:
        pass
    (left,) = [row for row in ValuedReader(engine, far).rows(DAY, DAY + HOUR) if row.workload]
    assert left.figures[0] < 10_000
    assert left_out.node_hours == 4
    assert seal(engine, NOW, far) == [DAY]
