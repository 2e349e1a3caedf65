"""What a pod cannot have counted makes the hour unknown in its own namespace, never zero, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.labelled_units import pod_namespaces
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate
from carbonbudget_operator.ledger.unit_store import read_units
from carbonbudget_operator.server.target_counters import digest_of
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.units.counter_expression import expression_of
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR, DAY = 3600, 86_400
FIRST = 1_761_868_800
HOURS = 4
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
TEAMS = ("team-a", "team-b", "team-c")
QUERY = ClusterUnitSource(query="sum by (namespace, pod) (increase(tokens[1h]))")
IMAGES = ClusterUnitSource(client="images")
SPAN = (FIRST, FIRST + HOURS * HOUR)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """Four hours of a pod in each of three namespaces."""
    made = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    migrate(made)
    reports = [
        a_report(FIRST + hour * HOUR + 60 * minute, pods={f"{team}-p": 10**9}, namespace=team)
        for hour in range(HOURS)
        for minute, team in enumerate(TEAMS)
    ]
    book(Booker(made), *reports, a_report(FIRST + HOURS * HOUR, pods={}))
    yield made
    made.dispose()


def figures(engine: sa.Engine) -> TargetFigures:
    return TargetFigures(BudgetUseQueries(ValuedReader(engine, SETTINGS)), SelectedUnits("default", 90), digest_of)


def asked(engine: sa.Engine, source: ClusterUnitSource, *names: str) -> TargetSpanAnswer:
    query = TargetQuery(
        id="q", source=source, spans=[TargetSpan(start=SPAN[0], end=SPAN[1])], namespaces=list(names or ["*"])
    )
    return figures(engine).answers([query]).answers[0].spans[0]


def of_pods(units: int, *teams: str) -> dict[tuple[str, str], int]:
    return {(team, f"{team}-p"): units for team in teams}


def a_query_with_an_impossible_hour(engine: sa.Engine) -> None:
    counter = a_counter(engine, "", QUERY)
    for hour in range(HOURS):
        bad = ["team-b"] if hour == 1 else []
        counts = of_pods(10, *(team for team in TEAMS if team not in bad))
        an_hour(engine, counter, FIRST + hour * HOUR, counts, unknown=bad)


def posted_with_an_impossible_hour(engine: sa.Engine) -> None:
    """The pod of team-b posts in the second hour more than 10^12."""
    for team in TEAMS:
        for hour in range(HOURS):
            number = 10**12 + 1 if (team, hour) == ("team-b", 1) else 10
            pods_count(engine, f"{team}-p", team, (number, FIRST + hour * HOUR, FIRST + hour * HOUR + 60))


def whole(*answers: TargetSpanAnswer) -> Sequence[int]:
    return [
        sum(getattr(answer, name) for answer in answers)
        for name in ("units_micro", "emissions_ug", "embodied_ug", "energy_uj")
    ]


@pytest.mark.parametrize("source", [QUERY, IMAGES], ids=["query", "client"])
def test_the_hour_is_unknown_in_that_namespace_alone(engine: sa.Engine, source: ClusterUnitSource) -> None:
    a_query_with_an_impossible_hour(engine)
    posted_with_an_impossible_hour(engine)
    each = {team: asked(engine, source, team) for team in TEAMS}
    assert [each[team].known_hours for team in TEAMS] == [HOURS, HOURS - 1, HOURS]
    assert [each[team].units_micro for team in TEAMS] == [40 * MICRO, 30 * MICRO, 40 * MICRO]
    assert each["team-a"].missing == each["team-c"].missing == ""
    assert "more units in the hour than can be" in each["team-b"].missing
    # Emissions are of the hours that are known, as the units are.
    assert each["team-b"].emissions_ug < each["team-a"].emissions_ug
    for names in (["*"], list(TEAMS)):
        together = asked(engine, source, *names)
        assert whole(together) == whole(*each.values())
        assert together.known_hours == HOURS - 1
        assert "more units in the hour than can be" in together.missing


def test_an_hour_with_units_of_no_pods_is_not_known_where_those_of_a_namespace_are_not(
    engine: sa.Engine,
) -> None:
    """Its units without pods may be that namespace's, whose emissions are left out."""
    counter = a_counter(engine, "", QUERY)
    for hour in range(HOURS):
        bad = ["team-b"] if hour == 1 else []
        counts = {**of_pods(10, "team-a"), ("", ""): 100, **({} if bad else of_pods(10, "team-b"))}
        an_hour(engine, counter, FIRST + hour * HOUR, counts, unknown=bad)
    together = asked(engine, QUERY)
    assert together.units_micro == (HOURS - 1) * 120 * MICRO
    assert together.known_hours == HOURS - 1
    assert "with every series, or with none" in together.missing
    assert together.all_emissions_ug is not None
    assert together.emissions_ug * HOURS == together.all_emissions_ug * (HOURS - 1)


def test_it_stays_unknown_when_the_hour_is_sealed(engine: sa.Engine) -> None:
    a_query_with_an_impossible_hour(engine)
    before = {team: asked(engine, QUERY, team) for team in (*TEAMS, "*")}
    steps = UpkeepSteps(ValuedReader(engine, SETTINGS), 30, 25)
    while steps.step(SPAN[1] + 40 * DAY) is not None or steps.seal(SPAN[1] + 40 * DAY) is not None:
        pass
    with engine.connect() as connection:
        assert not connection.scalar(sa.select(sa.func.count()).select_from(schema.pod_fact)), "it is sealed"
    assert {team: asked(engine, QUERY, team) for team in before} == before


def test_a_reader_of_the_stored_hours_gets_no_units_of_a_namespace_that_is_not_known(engine: sa.Engine) -> None:
    a_query_with_an_impossible_hour(engine)
    key = ("", expression_of(QUERY))
    with engine.connect() as connection:
        found = read_units(connection, "default", [key], *SPAN)[key]
    assert found.units[FIRST + HOUR] == dict.fromkeys(of_pods(0, "team-a", "team-c"), 10 * MICRO)


@pytest.mark.parametrize("hours", [1, HOURS])
def test_a_tenant_whose_counter_fails_leaves_the_targets_of_several_namespaces_a_figure(
    engine: sa.Engine, hours: int
) -> None:
    """The condition of a target needs half of its hours: one tenant of three must not decide about that."""
    for team in TEAMS:
        counter = a_counter(engine, team)
        for hour in range(HOURS):
            failed = team == "team-b" and hour < hours
            an_hour(engine, counter, FIRST + hour * HOUR, None if failed else of_pods(10, team), "what it exposes")
    found = asked(engine, REQUESTS)
    parts = [asked(engine, REQUESTS, team) for team in TEAMS]
    assert parts[1].known_hours == HOURS - hours
    assert whole(found) == whole(*parts)
    assert HOURS > found.known_hours == (3 * HOURS - hours) // 3 >= HOURS / 2
    assert found.missing == "what it exposes"


def test_namespaces_are_those_of_the_own_cluster(engine: sa.Engine) -> None:
    """Several clusters may store in one ledger."""
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO node (id, cluster, name) VALUES (99, 'other', 'n1')"))
        connection.execute(
            sa.text("INSERT INTO pod (node_id, uid, label_set_id, namespace, name) VALUES (99, 'u', 1, 'theirs', 'p')")
        )
        assert pod_namespaces(connection, "default") == set(TEAMS)
        assert pod_namespaces(connection, "other") == {"theirs"}
        assert pod_namespaces(connection, "third") == set()
