"""Figures of targets: emissions and units are of the same hours, and what is divided adds up to the whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.answers.counted import MICRO, REQUESTS, a_counter, an_hour, pods_count
from tests.databases import make_tables
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.selected_units import SelectedUnits
from carbonbudget_operator.answers.target_figures import TargetFigures
from carbonbudget_operator.answers.unit_hours import runs_of
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.api.selector import LabelSelector, LabelSelectorRequirement
from carbonbudget_operator.api.target_query_bodies import TargetQuery, TargetSpan, TargetSpanAnswer
from carbonbudget_operator.api.target_spec import ClusterUnitSource, UnitCounter
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.server.target_counters import digest_of
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR, DAY = 3600, 86_400
FIRST = 1_761_868_800  # 2025-10-31, the last day of a month
HOURS = 40
END = FIRST + HOURS * HOUR
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
APPS = ("web", "api", "batch")
FAILED, NOT_ASKED = {5, 6, 20}, {30}
CHAT, SEARCH = LabelSelector(match_labels={"app": "web"}), LabelSelector(match_labels={"app": "api"})


def units_of(app: str, namespace: str, hour: int) -> int:
    """What one pod serves in an hour; `batch` serves nothing, and nothing is served in each ninth hour."""
    if app == "batch" or hour % 9 == 8:
        return 0
    return 100 + 7 * hour + (3 if app == "web" else 11) + (1_000 if namespace == "team-b" else 0)


def fill(engine: sa.Engine) -> None:
    """Three apps of two namespaces on two nodes; the counter has holes in other hours for each namespace."""
    reports = [
        a_report(
            FIRST + hour * HOUR + 60 * minute, node, {f"{namespace}-{app}-{node}": 10**9 + hour * 7_001 + minute},
            labels={"app": app, "hour": str(hour % 3)}, namespace=namespace,
        )
        for hour in range(HOURS + 1)
        for node in ("n1", "n2")
        for minute, (namespace, app) in enumerate((name, app) for name in ("team-a", "team-b") for app in APPS)
    ]  # fmt: skip
    book(Booker(engine), *reports)
    for namespace, shift in (("team-a", 0), ("team-b", 2)):
        counter = a_counter(engine, namespace)
        for hour in range(HOURS):
            if hour - shift in NOT_ASKED:
                continue
            counts = {
                (namespace, f"{namespace}-{app}-{node}"): units
                for app in APPS
                for node in ("n1", "n2")
                if (units := units_of(app, namespace, hour))
            } | {(namespace, "gone"): 10**6}  # a pod that no node reported
            an_hour(engine, counter, FIRST + hour * HOUR, None if hour - shift in FAILED else counts)


def figures(engine: sa.Engine, settings: Settings = SETTINGS) -> TargetFigures:
    return TargetFigures(
        BudgetUseQueries(ValuedReader(engine, settings)), SelectedUnits(settings.cluster, 90), digest_of
    )


@dataclass
class Asked:
    """Figures over facts, or over stored hours; each keeps what it read before."""

    engine: sa.Engine
    kept: TargetFigures

    def one(self, query: TargetQuery) -> list[TargetSpanAnswer]:
        (answer,) = self.kept.answers([query]).answers
        assert answer == figures(self.engine).answers([query]).answers[0], "what is remembered is what is read"
        return answer.spans


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], Asked]]:
    made = {}
    for stored in (False, True):
        engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('targets')}/ledger.db")
        make_tables(engine)
        fill(engine)
        if stored:
            keep(engine, FIRST + 36 * HOUR)
        made[stored] = Asked(engine, figures(engine))
    yield made.__getitem__
    for one in made.values():
        one.engine.dispose()


def keep(engine: sa.Engine, now: int, pod_days: int = 35) -> None:
    steps = UpkeepSteps(ValuedReader(engine, SETTINGS), pod_days, 25)
    while steps.step(now) is not None or steps.seal(now) is not None:
        pass


def a_query(*spans: tuple[int, int], source: ClusterUnitSource = REQUESTS, **change: object) -> TargetQuery:
    given: dict[str, object] = {"namespaces": ["team-a"]} | change
    return TargetQuery(id="q", source=source, spans=[TargetSpan(start=a, end=b) for a, b in spans], **given)


NUMBERS = ("emissions_ug", "embodied_ug", "energy_uj", "units_micro")


def numbers(*answers: TargetSpanAnswer) -> dict[str, int]:
    return {name: sum(getattr(answer, name) for answer in answers) for name in NUMBERS}


SPANS = st.tuples(st.integers(-2, HOURS), st.integers(1, HOURS)).map(
    lambda pair: (FIRST + pair[0] * HOUR, FIRST + (pair[0] + pair[1]) * HOUR)
)
NAMESPACES = st.sampled_from([["team-a"], ["team-b"], ["team-a", "team-b"], ["*"], ["none"]])
SELECTORS = st.sampled_from([None, CHAT, SEARCH, LabelSelector(match_labels={"app": "web", "hour": "1"})])


@settings(max_examples=60, deadline=None)
@given(SPANS, NAMESPACES, SELECTORS, st.booleans())
def test_a_span_is_the_sum_of_its_hours(
    asked: Callable[[bool], Asked], span: tuple[int, int], names: list[str], selector: LabelSelector, stored: bool
) -> None:
    hours = [(at, at + HOUR) for at in range(*span, HOUR)]
    (whole,) = asked(stored).one(a_query(span, namespaces=names, selector=selector))
    parts = [
        answer
        for some in (hours[at : at + 16] for at in range(0, len(hours), 16))
        for answer in asked(stored).one(a_query(*some, namespaces=names, selector=selector))
    ]
    assert numbers(whole) == numbers(*parts)
    assert whole.hours == sum(part.hours for part in parts)


@settings(max_examples=60, deadline=None)
@given(SPANS, NAMESPACES, st.booleans())
def test_selections_that_share_no_pod_add_up_to_their_union(
    asked: Callable[[bool], Asked], span: tuple[int, int], names: list[str], stored: bool
) -> None:
    neither = LabelSelector(
        match_expressions=[LabelSelectorRequirement(key="app", operator="NotIn", values=["web", "api"])]
    )
    parts = [asked(stored).one(a_query(span, namespaces=names, selector=one))[0] for one in (CHAT, SEARCH, neither)]
    (whole,) = asked(stored).one(a_query(span, namespaces=names))
    assert numbers(*parts) == numbers(whole)


@settings(max_examples=40, deadline=None)
@given(SPANS, st.booleans())
def test_namespaces_add_up_and_each_has_its_own_known_hours(
    asked: Callable[[bool], Asked], span: tuple[int, int], stored: bool
) -> None:
    parts = [asked(stored).one(a_query(span, namespaces=[name]))[0] for name in ("team-a", "team-b")]
    for names in (["team-a", "team-b"], ["*"], ["team-b", "team-a", "none"]):
        (whole,) = asked(stored).one(a_query(span, namespaces=names))
        assert numbers(*parts) == numbers(whole)
        assert whole.all_emissions_ug == sum(part.all_emissions_ug or 0 for part in parts)
        assert whole.known_percent is not None
        if whole.all_emissions_ug:  # a namespace weighs as much as it emits
            assert whole.known_percent == whole.emissions_ug * 100 // whole.all_emissions_ug
        if span[0] >= FIRST:  # before, there are no pods whose units could be missing
            assert whole.known_hours == sum(part.known_hours for part in parts) // 2


def test_hours_whose_units_are_not_known_add_neither_emissions_nor_units(asked: Callable[[bool], Asked]) -> None:
    (answer,) = asked(False).one(a_query((FIRST, END), selector=CHAT))
    unknown = FAILED | NOT_ASKED
    assert (answer.hours, answer.known_hours) == (HOURS, HOURS - len(unknown))
    served = sum(2 * units_of("web", "team-a", hour) for hour in range(HOURS) if hour not in unknown)
    assert answer.units_micro == served * MICRO
    budgets = BudgetUseQueries(ValuedReader(asked(False).engine, SETTINGS))
    uses = budgets.budgets(
        [
            BudgetQuery(
                id="x", namespaces=["team-a"], selector=CHAT, start=FIRST + hour * HOUR, end=FIRST + (hour + 1) * HOUR,
                include=["Dynamic", "Idle", "Overhead", "Embodied"],
            )
            for hour in range(HOURS) if hour not in unknown
        ]
    )  # fmt: skip
    assert answer.emissions_ug == sum(use.used_ug for use in uses)
    assert answer.energy_uj == sum(use.energy_uj for use in uses)
    assert answer.embodied_ug == sum(use.parts.embodied_ug for use in uses) > 0


def test_the_reason_is_that_of_the_newest_hour_that_is_missing(asked: Callable[[bool], Asked]) -> None:
    asked_for = [(FIRST, FIRST + 4 * HOUR), (FIRST, FIRST + 8 * HOUR), (FIRST + 29 * HOUR, FIRST + 32 * HOUR)]
    known, failed, never = asked(False).one(a_query(*asked_for))
    assert (known.known_hours, known.missing) == (4, "")
    assert failed.missing == "Prometheus does not answer: the server's log says why"
    assert never.missing == "Prometheus has not been asked for these hours yet"


def test_a_counter_that_nobody_registered_makes_no_hour_known(asked: Callable[[bool], Asked]) -> None:
    other = ClusterUnitSource(counter=UnitCounter(metric="never_asked_total"))
    (answer,) = asked(False).one(a_query((FIRST, END), source=other))
    assert numbers(answer) == dict.fromkeys(NUMBERS, 0)
    assert (answer.known_hours, answer.missing) == (0, "Prometheus has not been asked for these hours yet")


def test_without_a_prometheus_nobody_is_told_to_wait_for_it(asked: Callable[[bool], Asked]) -> None:
    """Hours that were counted before it was switched off stay known."""
    queries = BudgetUseQueries(ValuedReader(asked(False).engine, SETTINGS))
    off = TargetFigures(queries, SelectedUnits(SETTINGS.cluster, 90, has_prometheus=False), digest_of)
    other = ClusterUnitSource(counter=UnitCounter(metric="never_asked_total"))
    counted, never = a_query((FIRST, FIRST + 4 * HOUR)), a_query((FIRST, END), source=other)
    (known,), (unknown,) = (answer.spans for answer in off.answers([counted, never]).answers)
    assert (known.known_hours, known.missing) == (4, "")
    assert (unknown.known_hours, unknown.missing) == (0, "no Prometheus is configured to count them (units.url)")


def test_a_name_that_no_counter_can_have_is_the_reason(asked: Callable[[bool], Asked]) -> None:
    wrong = ClusterUnitSource(counter=UnitCounter(metric='x"} or vector(1)'))
    (answer,) = asked(False).one(a_query((FIRST, END), source=wrong))
    assert answer.known_hours == 0
    assert "is no name of a metric" in answer.missing


def test_hours_after_the_reports_do_not_count(asked: Callable[[bool], Asked]) -> None:
    inside, beyond = asked(False).one(a_query((FIRST, END), (FIRST, END + 40 * DAY)))
    assert numbers(inside) == numbers(beyond)
    assert (beyond.end, beyond.hours) == (END + 40 * DAY, HOURS)
    (later,) = asked(False).one(a_query((END + DAY, END + 2 * DAY)))
    assert (later.hours, later.known_hours, later.units_micro, later.emissions_ug) == (0, 0, 0, 0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    made = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    make_tables(made)
    yield made
    made.dispose()


@settings(max_examples=8, deadline=None)
@given(chat=st.integers(1, 10**9), search=st.integers(0, 10**12))
def test_models_on_one_node_never_pay_for_each_others_units(
    tmp_path_factory: pytest.TempPathFactory, chat: int, search: int
) -> None:
    """Each one's emissions and units are the same, whatever the other one counts, or if it counts nothing."""
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('two')}/ledger.db")
    make_tables(engine)
    for app, energy_uj, second in (("web", 9 * 10**9, 0), ("api", 10**9, 60)):
        book(Booker(engine), a_report(FIRST + second, pods={f"{app}-1": energy_uj}, labels={"app": app}))
    book(Booker(engine), a_report(FIRST + HOUR, pods={}))
    answers = []
    for its, metric in ((0, "quiet_total"), (search, "busy_total")):
        source = ClusterUnitSource(counter=UnitCounter(metric=metric))
        counts = {("team-a", "web-1"): chat, ("team-a", "api-1"): its}
        an_hour(engine, a_counter(engine, "team-a", source), FIRST, counts)
        (answer,) = figures(engine).answers([a_query((FIRST, FIRST + HOUR), selector=CHAT, source=source)]).answers
        answers.append(answer.spans[0])
    engine.dispose()
    assert numbers(answers[0]) == numbers(answers[1])
    assert answers[0].units_micro == chat * MICRO
    assert answers[0].energy_uj > 0


def test_units_of_a_pod_that_changed_its_labels_are_of_those_that_it_had_longest(engine: sa.Engine) -> None:
    for minute in range(10):
        labels = {"app": "web"} if minute < 4 else {"app": "api"}
        book(Booker(engine), a_report(FIRST + 60 * minute, pods={"p": 10**9}, labels=labels))
    book(Booker(engine), a_report(FIRST + HOUR, pods={}))
    an_hour(engine, a_counter(engine, "team-a"), FIRST, {("team-a", "p"): 50})
    for selector, units in ((CHAT, 0), (SEARCH, 50), (None, 50)):
        (answer,) = figures(engine).answers([a_query((FIRST, FIRST + HOUR), selector=selector)]).answers
        assert answer.spans[0].units_micro == units * MICRO
        assert answer.spans[0].emissions_ug > 0


def test_a_query_over_the_cluster_counts_for_its_target_as_a_whole(engine: sa.Engine) -> None:
    fill(engine)
    query = ClusterUnitSource(query="sum(rate(tokens[1h])) * 3600")
    counter = a_counter(engine, "", query)
    an_hour(engine, counter, FIRST, {("", ""): 77})
    an_hour(engine, counter, FIRST + HOUR, {("team-a", "team-a-web-n1"): 5, ("team-b", "team-b-web-n1"): 6})
    (answer,) = figures(engine).answers([a_query((FIRST, FIRST + 3 * HOUR), source=query)]).answers
    assert (answer.spans[0].known_hours, answer.spans[0].units_micro) == (2, 82 * MICRO)
    everywhere = a_query((FIRST, FIRST + 3 * HOUR), source=query, namespaces=["*"], selector=CHAT)
    (answer,) = figures(engine).answers([everywhere]).answers
    assert answer.spans[0].units_micro == (77 + 5 + 6) * MICRO


def test_units_that_pods_count_are_spread_over_their_hours_and_all_hours_are_known(engine: sa.Engine) -> None:
    for hour in range(3):
        book(Booker(engine), a_report(FIRST + hour * HOUR, pods={"p": 10**9}, labels={"app": "web"}))
    book(Booker(engine), a_report(FIRST + 3 * HOUR, pods={}))
    pods_count(engine, "p", "team-a", (10, FIRST + 1800, FIRST + 2 * HOUR + 1800))
    source = ClusterUnitSource(client="images")
    spans = [(FIRST + hour * HOUR, FIRST + (hour + 1) * HOUR) for hour in range(3)]
    for selector, factor in ((None, 1), (CHAT, 1), (SEARCH, 0)):
        (answer,) = figures(engine).answers([a_query(*spans, source=source, selector=selector)]).answers
        assert [span.units_micro for span in answer.spans] == [factor * n * MICRO // 10 for n in (25, 50, 25)]
        assert [span.known_hours for span in answer.spans] == [1, 1, 1]


def test_a_sealed_hour_keeps_its_units_by_label_when_its_pods_are_gone(engine: sa.Engine) -> None:
    fill(engine)
    query = a_query((FIRST, END), selector=CHAT)
    before = figures(engine).answers([query]).answers
    late = FIRST + 5 * HOUR  # Prometheus did not answer in time
    keep(engine, END + 40 * DAY, pod_days=30)
    with engine.connect() as connection:
        assert len(connection.execute(sa.select(schema.sealed_hour)).all()) > 30
        assert not connection.scalar(sa.select(sa.func.count()).select_from(schema.pod_fact))
    assert figures(engine).answers([query]).answers == before
    # Counted after that, its pods' labels are not known any more, and it is not said to be nothing.
    with engine.connect() as connection:
        counter = connection.scalar(sa.text("SELECT id FROM unit_counter WHERE namespace = 'team-a'"))
    an_hour(engine, counter, late, {("team-a", "team-a-web-n1"): 5})
    (answer,) = figures(engine).answers([a_query((late, late + HOUR), selector=CHAT)]).answers
    assert (answer.spans[0].known_hours, answer.spans[0].units_micro, answer.spans[0].emissions_ug) == (0, 0, 0)
    assert "server.pod_days" in answer.spans[0].missing


def test_a_count_that_comes_again_replaces_what_was_remembered(engine: sa.Engine) -> None:
    fill(engine)
    remembering, query = figures(engine), a_query((FIRST, FIRST + 8 * HOUR), selector=CHAT)
    assert remembering.answers([query]).answers[0].spans[0].known_hours == 6
    with engine.connect() as connection:
        counter = connection.scalar(sa.text("SELECT id FROM unit_counter WHERE namespace = 'team-a'"))
    an_hour(engine, counter, FIRST + 5 * HOUR, {("team-a", "team-a-web-n1"): 9})
    found = remembering.answers([query]).answers[0].spans[0]
    assert found.known_hours == 7
    assert found == figures(engine).answers([query]).answers[0].spans[0]


@given(st.binary(max_size=60).map(lambda data: bytes(one % 2 for one in data)), st.sampled_from([None, 1, 5]))
def test_runs_are_the_known_hours_each_once(known: bytes, longest: int | None) -> None:
    runs = runs_of(known, FIRST, longest)
    hours = [at for start, end in runs for at in range(start, end, HOUR)]
    assert hours == [FIRST + number * HOUR for number, one in enumerate(known) if one]
    if longest is None:
        assert all(before[1] < after[0] for before, after in pairwise(runs))


def test_units_are_read_for_some_selections_at_a_time(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(engine)
    queries = [
        a_query((FIRST, END), (FIRST + DAY, END), namespaces=names, selector=selector, source=source)
        for names in (["team-a"], ["team-a", "team-b"], ["*"])
        for selector in (None, CHAT)
        for source in (REQUESTS, ClusterUnitSource(client="images"))
    ]
    at_once = figures(engine).answers(queries)
    read, sizes = SelectedUnits.read, []

    def counted(
        self: SelectedUnits, connection: sa.Connection, asked: Mapping[Any, tuple[Any, Collection[int]]], *more: Any
    ) -> Any:
        sizes.append(sum(len(days) for _, days in asked.values()))
        return read(self, connection, asked, *more)

    monkeypatch.setattr(SelectedUnits, "read", counted)
    monkeypatch.setattr("carbonbudget_operator.answers.target_units._DAYS_AT_ONCE", 3)
    assert figures(engine).answers(queries) == at_once
    assert len(sizes) > 3
    assert max(sizes) <= 4  # the last selection of a reading may have two days more than are left
