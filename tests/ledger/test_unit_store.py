"""Units in the ledger: known hours stay, unknown ones are never zero, and nobody reads another's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.ledger.reports import a_report, book

from carbonbudget_operator.ledger.batch_delete import BatchDeleter, DeletionUnfinished
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.kept_unit_table import kept_units
from carbonbudget_operator.ledger.labelled_units import LabelledUnits, keep_units, units_of_sealed
from carbonbudget_operator.ledger.retention import drop_before
from carbonbudget_operator.ledger.unit_store import (
    LEASE_SECONDS,
    CounterHours,
    FailedHour,
    UnitStore,
    WantedCounter,
    read_units,
)
from carbonbudget_operator.ledger.unit_tables import unit_counter, unit_day, unit_failure
from carbonbudget_operator.units.counter_expression import CounterExpression
from carbonbudget_operator.units.counting import HourUnits
from carbonbudget_operator.units.pending_hours import AttemptedHour

HOUR, DAY, MICRO = 3600, 86_400, 1_000_000
FIRST = 20_000 * DAY + 22 * HOUR  # two hours before midnight
NOW = FIRST + 10 * HOUR
TOKENS = CounterExpression("tokens_total")
MODEL = CounterExpression("tokens_total", (("model", "m"),))


def a_store(engine: sa.Engine, *namespaces: str, cluster: str = "default") -> UnitStore:
    store = UnitStore(engine, cluster)
    store.register([WantedCounter(one, TOKENS, FIRST) for one in namespaces], NOW)
    return store


def ids(store: UnitStore) -> dict[str, int]:
    return {one.namespace: one.id for one in store.counters()}


def units(micro: dict[tuple[str, str], int], refused: str = "") -> HourUnits:
    return HourUnits(micro, False, True, bool(refused), refused)


ABSENT = HourUnits({}, True, False)


def read(
    engine: sa.Engine, namespace: str, start: int, end: int, expression: CounterExpression = TOKENS,
    cluster: str = "default",
) -> CounterHours:  # fmt: skip
    with engine.connect() as connection:
        return read_units(connection, cluster, [(namespace, expression)], start, end)[namespace, expression]


def test_what_was_counted_is_read_back_by_hour_and_pod(engine: sa.Engine) -> None:
    store = a_store(engine, "a", "b")
    key = ids(store)
    first = {("a", "p"): 5 * MICRO, ("a", "q"): 1}
    for n, counted in enumerate((units(first), units({}), units({("a", "p"): 2**62}, "q jumped"), ABSENT)):
        assert store.store_hour(key["a"], FIRST + n * HOUR, counted)
    found = read(engine, "a", FIRST, FIRST + 6 * HOUR)
    assert found.states == {
        FIRST: "counted", FIRST + HOUR: "counted", FIRST + 2 * HOUR: "counted", FIRST + 3 * HOUR: "absent",
    }  # fmt: skip
    assert found.units == {FIRST: first, FIRST + 2 * HOUR: {("a", "p"): 2**62}}
    assert (found.gaps, found.refused, found.reason) == (frozenset({FIRST + 2 * HOUR}), "q jumped", "")
    assert read(engine, "a", FIRST + HOUR, FIRST + 2 * HOUR).units == {}
    assert read(engine, "b", FIRST, FIRST + 6 * HOUR) == CounterHours()


def test_a_known_hour_stays_as_it_is(engine: sa.Engine) -> None:
    store = a_store(engine, "a")
    (key,) = ids(store).values()
    assert store.store_hour(key, FIRST, units({("a", "p"): 5}))
    assert not store.store_hour(key, FIRST, units({("a", "p"): 6}))
    assert not store.store_hour(key, FIRST, ABSENT)
    store.store_failures([FailedHour(key, FIRST, AttemptedHour(NOW, 1), "away")])
    found = read(engine, "a", FIRST, FIRST + HOUR)
    assert (found.units, found.states, found.reason) == ({FIRST: {("a", "p"): 5}}, {FIRST: "counted"}, "")


def test_a_failed_hour_has_its_reason_until_it_is_counted_and_is_missing_when_given_up(engine: sa.Engine) -> None:
    store = a_store(engine, "a")
    (key,) = ids(store).values()
    store.store_failures([FailedHour(key, FIRST + n * HOUR, AttemptedHour(NOW, 1), f"away {n}") for n in range(3)])
    store.store_failures([FailedHour(key, FIRST, AttemptedHour(NOW + 9, 2), "away again")])
    assert store.failed_hours([key], FIRST)[key][FIRST] == AttemptedHour(NOW + 9, 2)
    found = read(engine, "a", FIRST, FIRST + 5 * HOUR)
    assert (set(found.states.values()), found.reason) == ({"failed"}, "away 2")
    assert store.store_hour(key, FIRST + 2 * HOUR, ABSENT)
    assert read(engine, "a", FIRST, FIRST + 5 * HOUR).reason == "away 1"
    store.give_up(FIRST + 5 * HOUR)
    store.give_up(FIRST)  # a clock that goes back gives nothing back
    found = read(engine, "a", FIRST - HOUR, FIRST + 6 * HOUR)
    missing = [FIRST - HOUR, FIRST, FIRST + HOUR, FIRST + 3 * HOUR, FIRST + 4 * HOUR]
    assert found.states == {**dict.fromkeys(missing, "missing"), FIRST + 2 * HOUR: "absent"}
    assert "give_up_days" in found.reason
    assert found.units == {}


def test_counters_are_registered_once_and_an_earlier_first_hour_counts(engine: sa.Engine) -> None:
    store = a_store(engine, "a")
    written: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *event: written.append(event[2]))
    store.register([WantedCounter("a", TOKENS, FIRST), WantedCounter("a", TOKENS, FIRST + HOUR)], NOW + 60)
    assert not [sql for sql in written if sql.lstrip().upper().startswith(("INSERT", "UPDATE", "BEGIN IMMEDIATE"))]
    store.register([WantedCounter("a", TOKENS, FIRST - 3 * HOUR + 5), WantedCounter("a", MODEL, FIRST)], NOW + 60)
    store.register([WantedCounter("a", TOKENS, FIRST)], NOW + 2 * HOUR)
    assert [(one.expression, one.first_hour) for one in store.counters()] == [
        (TOKENS, FIRST - 3 * HOUR), (MODEL, FIRST),
    ]  # fmt: skip


def test_a_namespace_has_a_limit_of_counters_and_others_have_theirs(engine: sa.Engine) -> None:
    store = UnitStore(engine, "default", most_counters=3)
    many = [WantedCounter("a", CounterExpression(f"m{n}"), FIRST) for n in range(5)]
    store.register([*many, WantedCounter("b", TOKENS, FIRST)], NOW)
    store.register(many, NOW + 1)
    assert [one.namespace for one in store.counters()].count("a") == 3
    assert "b" in ids(store)
    assert read(engine, "a", FIRST, NOW, CounterExpression("m4")).reason == "the counter was not asked for yet"


def test_a_tenants_counters_keep_no_target_of_the_cluster_from_its_own(engine: sa.Engine) -> None:
    store = UnitStore(engine, "default", most_counters=3)
    store.register([WantedCounter("a", CounterExpression(f"m{n}"), FIRST) for n in range(5)], NOW)
    store.register([WantedCounter("a", TOKENS, FIRST, True), WantedCounter("b", TOKENS, FIRST, True)], NOW)
    store.register([WantedCounter("a", MODEL, FIRST), WantedCounter("a", MODEL, FIRST - HOUR, True)], NOW + 1)
    assert [one.expression for one in store.counters() if one.namespace == "a"][3:] == [TOKENS, MODEL]
    assert store.counters()[-1].first_hour == FIRST - HOUR


def test_clusters_in_one_ledger_are_apart(engine: sa.Engine) -> None:
    one, two = a_store(engine, "a"), a_store(engine, "a", cluster="other")
    one.store_hour(ids(one)["a"], FIRST, units({("a", "p"): 1}))
    two.store_hour(ids(two)["a"], FIRST, units({("a", "p"): 2}))
    two.give_up(FIRST + 9 * HOUR)
    assert read(engine, "a", FIRST, FIRST + 2 * HOUR).units == {FIRST: {("a", "p"): 1}}
    assert read(engine, "a", FIRST, FIRST + 2 * HOUR).states == {FIRST: "counted"}
    assert read(engine, "a", FIRST, FIRST + HOUR, cluster="other").units == {FIRST: {("a", "p"): 2}}


def test_one_server_has_the_lease_until_it_ends(engine: sa.Engine) -> None:
    store = a_store(engine)
    assert store.acquire(NOW, "one")
    assert store.acquire(NOW + 60, "one")
    assert not store.acquire(NOW + 60 + LEASE_SECONDS - 1, "two")
    assert store.acquire(NOW + 60 + LEASE_SECONDS, "two")
    assert not store.acquire(NOW + 60 + LEASE_SECONDS, "one")
    assert store.acquire(NOW - DAY, "one"), "the other server's clock was wrong"


def test_counters_that_no_target_needs_any_more_are_deleted_with_their_hours(engine: sa.Engine) -> None:
    store = a_store(engine, "a", "b")
    key = ids(store)
    for one in key.values():
        store.store_hour(one, FIRST, units({("a", "p"): 1}))
        store.store_failures([FailedHour(one, FIRST + HOUR, AttemptedHour(NOW, 1), "away")])
    store.register([WantedCounter("b", TOKENS, FIRST)], NOW + 40 * DAY)
    store.drop_unused(NOW + 5 * DAY, BatchDeleter(engine))
    assert set(ids(store)) == {"b"}
    with engine.connect() as connection:
        for table in (unit_day, unit_failure):
            assert connection.scalars(sa.select(table.c.counter_id)).all() == [key["b"]]
    assert not store.store_hour(key["a"], FIRST + 2 * HOUR, ABSENT)


def test_hours_of_a_deleted_counter_are_of_no_later_one(engine: sa.Engine) -> None:
    """The deletion of its hours may be interrupted, and what was kept of sealed hours stays."""
    store = a_store(engine, "a")
    (key,) = ids(store).values()
    store.store_hour(key, FIRST, units({("a", "p"): 1}))
    store.store_failures([FailedHour(key, FIRST + HOUR, AttemptedHour(NOW, 1), "away")])
    with engine.begin() as connection:
        keep_units(connection, [LabelledUnits(key, FIRST, "a", 0, 5)])
    with suppress(DeletionUnfinished):
        store.drop_unused(NOW + 5 * DAY, Interrupted(engine))
    assert not ids(store)
    store.register([WantedCounter("b", MODEL, FIRST)], NOW + 40 * DAY)
    later = read(engine, "b", FIRST, FIRST + 2 * HOUR, MODEL)
    assert (later.states, later.units) == ({}, {})
    with engine.connect() as connection:
        assert list(units_of_sealed(connection, ids(store).values(), FIRST, FIRST + HOUR)) == []
    store.drop_unused(NOW + 5 * DAY, BatchDeleter(engine))  # what is left of it goes with the next call
    with engine.connect() as connection:
        for table in (unit_day, unit_failure, kept_units):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0, table.name


class Interrupted(BatchDeleter):
    """Its time is used up after one transaction."""

    def delete(self, statements: Sequence[sa.Delete]) -> int:
        deleted = super().delete(statements)
        self._until = 0.0
        return deleted


def test_hours_past_the_ledgers_retention_are_deleted_by_day(engine: sa.Engine) -> None:
    store = a_store(engine, "a")
    (key,) = ids(store).values()
    for n in range(4):  # the second day begins after two hours
        store.store_hour(key, FIRST + n * HOUR, units({("a", "p"): n + 1}))
    book(Booker(engine), a_report(FIRST, "node-1", {"p": 10**9}))
    drop_before(engine, FIRST + 2 * HOUR, BatchDeleter(engine))
    found = read(engine, "a", FIRST, FIRST + 4 * HOUR)
    assert found.units == {FIRST + 2 * HOUR: {("a", "p"): 3}, FIRST + 3 * HOUR: {("a", "p"): 4}}
    with engine.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(unit_counter)) == 1


def test_a_counter_of_a_later_version_is_left_alone(engine: sa.Engine) -> None:
    store = a_store(engine, "a")
    with engine.begin() as connection:
        connection.execute(sa.update(unit_counter).values(expression='{"later":1}'))
    assert store.counters() == []


micro = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b", ""]), st.text(max_size=5)), st.integers(1, 2**63), max_size=4
)


@given(st.dictionaries(st.integers(0, 60), st.none() | micro, max_size=20))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_hours_in_any_order_are_read_back(
    engine: sa.Engine, hours: dict[int, dict[tuple[str, str], int] | None]
) -> None:
    with engine.begin() as connection:
        for table in (unit_day, unit_failure, unit_counter):
            connection.execute(sa.delete(table))
    store = a_store(engine, "")
    (key,) = ids(store).values()
    for n, counts in hours.items():
        assert store.store_hour(key, FIRST + n * HOUR, ABSENT if counts is None else units(counts))
    found = read(engine, "", FIRST, FIRST + 61 * HOUR)
    assert found.units == {FIRST + n * HOUR: counts for n, counts in hours.items() if counts}
    assert found.states == {FIRST + n * HOUR: "absent" if counts is None else "counted" for n, counts in hours.items()}
    assert store.known_hours([key], FIRST).get(key, set()) == {FIRST + n * HOUR for n in hours}
