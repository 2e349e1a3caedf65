"""The workloads that an answer about a target names are those that emitted most of what its figure is made of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answers.counted import REQUESTS, a_counter, an_hour
from tests.databases import make_tables
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.selected_units import SelectedUnits
from carbonbudget_operator.answers.target_figures import TargetFigures
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery, WorkloadUse
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.api.target_query_bodies import TargetQuery, TargetSpan
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.server.target_counters import digest_of
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR = 3600
FIRST = 1_761_868_800
HOURS = 8
SETTINGS = Settings(carbon=CarbonSettings(zone="DE"))
COMPONENTS = ("Dynamic", "Idle", "Overhead", "Embodied")
PODS = 14


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BudgetUseQueries]:
    """Fourteen pods in each of two namespaces; who emits most changes from hour to hour."""
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('workloads')}/ledger.db")
    make_tables(engine)
    for hour in range(HOURS + 1):
        for minute, namespace in enumerate(("team-a", "team-b")):
            pods = {f"{namespace}-{n}": 10**9 + 10**7 * ((n * 5 + hour * 3) % PODS) for n in range(PODS)}
            labels = {"half": str(hour % 2)}
            report = a_report(FIRST + hour * HOUR + 60 * minute, pods=pods, labels=labels, namespace=namespace)
            book(Booker(engine), report)
    counter = a_counter(engine, "team-a")  # one hour is not known, and of team-b none is
    for hour in range(HOURS):
        an_hour(engine, counter, FIRST + hour * HOUR, None if hour == 3 else {("team-a", "team-a-1"): 5})
    yield BudgetUseQueries(ValuedReader(engine, SETTINGS))
    engine.dispose()


def named(
    queries: BudgetUseQueries, *spans: tuple[int, int], workloads: int = 10, **change: object
) -> list[WorkloadUse]:
    figures = TargetFigures(queries, SelectedUnits(SETTINGS.cluster, 90), digest_of)
    asked = TargetQuery.model_validate(
        {"id": "q", "namespaces": ["team-a"], "source": REQUESTS, "wishes": {"workloads": workloads}} | change
        | {"spans": [TargetSpan(start=start, end=end) for start, end in spans]}
    )  # fmt: skip
    (answer,) = figures.answers([asked]).answers
    assert (answer.workloads is None) == (not workloads), "null where they were not asked for"
    return answer.workloads or []


def by_budget(queries: BudgetUseQueries, start: int, end: int, **change: object) -> list[tuple[str, str, int, int]]:
    given: dict[str, object] = {"namespaces": ["team-a"], "include": COMPONENTS, "workloads": 10} | change
    (answer,) = queries.budgets([BudgetQuery.model_validate({"id": "b", "start": start, "end": end} | given)])
    return [(one.namespace, one.workload, one.used_ug, one.energy_uj) for one in answer.workloads]


SPANS = st.tuples(st.integers(0, HOURS - 1), st.integers(1, HOURS)).map(
    lambda pair: (FIRST + pair[0] * HOUR, FIRST + min(HOURS, pair[0] + pair[1]) * HOUR)
)


@settings(max_examples=40, deadline=None)
@given(
    span=SPANS,
    names=st.sampled_from([["team-a"], ["team-b"], ["team-a", "team-b"], ["*"], ["none"]]),
    include=st.sampled_from([COMPONENTS, ("Dynamic",)]),
    half=st.sampled_from([None, "0", "2"]),
)
def test_they_are_those_that_a_budget_with_the_same_selection_names(
    queries: BudgetUseQueries, span: tuple[int, int], names: list[str], include: tuple[str, ...], half: str | None
) -> None:
    """Of all hours of the span, also of those whose units are not known."""
    selector = LabelSelector(match_labels={"half": half}) if half is not None else None
    change = {"namespaces": names, "include": include, "selector": selector}
    found = named(queries, span, **change)
    assert [(one.namespace, one.workload, one.used_ug, one.energy_uj) for one in found] == by_budget(
        queries, *span, **change
    )


def test_only_as_many_as_were_asked_for_of_the_first_span(queries: BudgetUseQueries) -> None:
    first, second = (FIRST, FIRST + HOUR), (FIRST + HOUR, FIRST + 2 * HOUR)
    assert named(queries, first, second, workloads=3) == named(queries, first, workloads=3)
    assert named(queries, second, first, workloads=3) == named(queries, second, workloads=3)
    assert named(queries, first, workloads=3) != named(queries, second, workloads=3)
    assert len(named(queries, first, workloads=3)) == 3
    assert len(named(queries, (FIRST, FIRST + HOURS * HOUR), namespaces=["*"])) == 10
    assert named(queries, first, workloads=0) == []
    assert named(queries) == []


def test_what_is_not_reported_yet_names_nobody(queries: BudgetUseQueries) -> None:
    end = FIRST + HOURS * HOUR
    assert named(queries, (end + 24 * HOUR, end + 25 * HOUR)) == []
    assert named(queries, (FIRST, end + 24 * HOUR)) == named(queries, (FIRST, end))


def test_workloads_of_a_namespace_that_does_not_count_any_more_are_not_named(queries: BudgetUseQueries) -> None:
    span = (FIRST, FIRST + HOURS * HOUR)
    both = {"namespaces": ["team-a", "team-b"]}
    found = named(queries, span, **both, until={"team-b": FIRST + 7 * HOUR})
    assert {one.namespace for one in found} == {"team-a"}
    assert {one.namespace for one in named(queries, span, **both)} == {"team-a", "team-b"}
