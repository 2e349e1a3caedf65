"""A namespace without units weighs as much as it emits in a target of several, and one that is gone ends there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.answers.counted import MICRO, REQUESTS, a_counter, an_hour, pods_count
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.selected_units import SelectedUnits
from carbonbudget_operator.answers.target_figures import TargetFigures
from carbonbudget_operator.api.target_query_bodies import TargetQuery, TargetSpan, TargetSpanAnswer
from carbonbudget_operator.api.target_spec import ClusterUnitSource
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.server.target_counters import digest_of
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR = 3600
FIRST = 1_761_868_800
HOURS = 4
NAMES = ["team-a", "team-b", "team-c"]
IMAGES = ClusterUnitSource(client="images")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """A pod of 9 GJ in team-a, of 2 GJ in team-b and of 1 GJ in team-c, in each of four hours."""
    made = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    migrate(made)
    for hour in range(HOURS):
        for second, (name, energy) in enumerate(zip(NAMES, (9, 2, 1), strict=True)):
            at = FIRST + hour * HOUR + 60 * second
            book(Booker(made), a_report(at, pods={f"{name}-1": energy * 10**9}, labels={"app": "x"}, namespace=name))
    book(Booker(made), a_report(FIRST + HOURS * HOUR, pods={}))
    yield made
    made.dispose()


def count(engine: sa.Engine, name: str, *hours: int) -> None:
    """The counter of a namespace, which answers in these hours."""
    counter = a_counter(engine, name)
    for hour in range(HOURS):
        an_hour(engine, counter, FIRST + hour * HOUR, {(name, f"{name}-1"): 10} if hour in hours else None)


def asked(
    engine: sa.Engine, *names: str, source: ClusterUnitSource = REQUESTS, until: dict[str, int] | None = None
) -> TargetSpanAnswer:
    settings = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
    queries = BudgetUseQueries(ValuedReader(engine, settings))
    span = TargetSpan(start=FIRST, end=FIRST + HOURS * HOUR)
    query = TargetQuery(id="q", namespaces=list(names), source=source, spans=[span], until=until or {})
    (answer,) = TargetFigures(queries, SelectedUnits(settings.cluster, 90), digest_of).answers([query]).answers
    return answer.spans[0]


@pytest.mark.parametrize("names", [NAMES, ["*"]])
def test_a_counter_that_always_fails_takes_its_namespace_out_of_both_sides(engine: sa.Engine, names: list[str]) -> None:
    count(engine, "team-a", *range(HOURS))
    count(engine, "team-b")
    count(engine, "team-c", *range(HOURS))
    made, rest, whole = asked(engine, *names), asked(engine, "team-a", "team-c"), asked(engine, "team-b")
    assert (made.emissions_ug, made.energy_uj, made.units_micro) == (
        rest.emissions_ug, rest.energy_uj, rest.units_micro,
    )  # fmt: skip
    assert rest.known_percent == 100
    assert made.all_emissions_ug == rest.emissions_ug + (whole.all_emissions_ug or 0)
    assert made.known_percent == made.emissions_ug * 100 // made.all_emissions_ug
    assert 75 < made.known_percent < 100
    assert (made.left_out, made.left_out_count) == (["team-b"], 1)
    assert (whole.known_percent, whole.emissions_ug, whole.left_out) == (0, 0, [])


def test_hours_that_nobody_knows_leave_no_namespace_out(engine: sa.Engine) -> None:
    for name in NAMES:
        count(engine, name, 0, 1)
    made = asked(engine, *NAMES)
    assert (made.known_hours, made.hours, made.left_out_count) == (2, 4, 0)
    assert made.known_percent in (49, 50)


def test_at_most_five_are_named_and_all_are_counted(engine: sa.Engine) -> None:
    names = [f"many-{n}" for n in range(7)]
    for number, name in enumerate(names):
        pods = {f"{name}-1": (number + 1) * 10**9}
        book(Booker(engine), a_report(FIRST + 600 + 60 * number, pods=pods, labels={"app": "x"}, namespace=name))
    count(engine, "team-a", *range(HOURS))
    made = asked(engine, "team-a", *names)
    assert (made.left_out, made.left_out_count) == ([f"many-{n}" for n in range(2, 7)], 7)


def test_units_that_cannot_be_believed_leave_out_the_namespace_that_claims_them(engine: sa.Engine) -> None:
    """Pods that count themselves may claim anything: it hides no other namespace's hour."""
    claims = [f"claims-{n}" for n in range(12)]
    at = FIRST + HOUR
    book(Booker(engine), a_report(at + 600, pods=dict.fromkeys(claims, 10**6), labels={"app": "x"}, namespace="team-b"))
    pods = [*((name, "team-b", 10**12) for name in claims), ("team-a-1", "team-a", 5), ("team-c-1", "team-c", 6)]
    for uid, name, units in pods:
        pods_count(engine, uid, name, (units, at, at + 5))
    made = asked(engine, *NAMES, source=IMAGES)
    assert made.units_micro == 11 * MICRO
    assert (made.left_out, made.known_hours) == (["team-b"], HOURS - 1)
    assert "more than can be" in made.missing
    alone = asked(engine, "team-b", source=IMAGES)
    assert (alone.known_hours, alone.units_micro) == (HOURS - 1, 0)
    others = [asked(engine, name, source=IMAGES) for name in ("team-a", "team-c")]
    assert made.emissions_ug == alone.emissions_ug + sum(one.emissions_ug for one in others)


@pytest.mark.parametrize("source", [REQUESTS, IMAGES])
def test_of_a_namespace_that_does_not_count_any_more_the_hours_before_count(
    engine: sa.Engine, source: ClusterUnitSource
) -> None:
    for name in NAMES:
        count(engine, name, *range(HOURS))
    half = FIRST + 2 * HOUR
    made = asked(engine, *NAMES, source=source, until={"team-b": half})
    alone, before = (
        asked(engine, "team-b", source=source),
        asked(engine, "team-b", source=source, until={"team-b": half}),
    )
    rest = asked(engine, "team-a", "team-c", source=source)
    assert 0 < before.emissions_ug < alone.emissions_ug
    assert made.emissions_ug == rest.emissions_ug + before.emissions_ug
    assert made.all_emissions_ug == made.emissions_ug
    assert made.units_micro == rest.units_micro + before.units_micro
    assert (made.known_percent, made.left_out, made.known_hours) == (100, [], HOURS)
    gone = asked(engine, *NAMES, source=source, until={"team-b": FIRST})
    assert (gone.emissions_ug, gone.units_micro) == (rest.emissions_ug, rest.units_micro)
