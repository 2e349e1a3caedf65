"""Controller and server together: the first figure of an hour counts, a revised one is set aside."""

from __future__ import annotations

import copy
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.controller.objects import Body, a_body, merge, namespaces, stored
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswers, BudgetQuery, BudgetWishes
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.controller.budget_evaluation import evaluate_budget
from carbonbudget_operator.controller.budget_queries import period_answers, period_queries
from carbonbudget_operator.controller.prepared_budget import prepare_budget
from carbonbudget_operator.intensity_settings import ElectricityMapsSettings, IntensitySettings
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.intensity_store import claim_poll, store_intensities
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

WATT_HOUR_UJ = 3_600_000_000
INTENSITY = IntensitySettings(sources=[ElectricityMapsSettings(name="maps", key_file=Path("/none"))])
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.0, intensity=INTENSITY))


GRANTED = ("settled_through", "own_figures_through")


class LateGrid:
    """A ledger with a source of intensities, and a budget of one day. `hour` counts from HOUR, 16:00 UTC."""

    def __init__(self, path: Path) -> None:
        self.engine: sa.Engine = open_ledger(f"sqlite:///{path}/ledger.db")
        make_tables(self.engine)
        self.booker = Booker(self.engine)
        self.queries = BudgetUseQueries(ValuedReader(self.engine, SETTINGS))
        self.body: Body = a_body(
            limit="30g", period="Day", include=["Dynamic"], thresholds=[{"at": 100, "action": "Block"}]
        )
        self.through, self.figures, self.asked = 0, 0, list[BudgetQuery]()

    def report(self, hour: int) -> None:
        """One pod of 60 W for an hour."""
        windows = (a_report(HOUR + 3600 * hour + 60 * minute, pods={"p": WATT_HOUR_UJ}) for minute in range(60))
        book(self.booker, *windows)

    def publish(self, now: int, **g_per_kwh: int) -> None:
        """`h0=100`: the figure of the first hour."""
        claim_poll(self.engine, "maps", "DE", now, 60)
        series = {HOUR + 3600 * int(name[1:]): (figure * 1000, False) for name, figure in g_per_kwh.items()}
        store_intensities(self.engine, "maps", "DE", "lifecycle", series, now, 24)

    def evaluate(self, now: int, grants: Collection[str] = GRANTED) -> dict[str, Any]:
        """The status after an evaluation by a server that knows the wishes `grants`."""
        prepared = prepare_budget(stored(self.body), now, namespaces())
        self.asked = period_queries(prepared, self.through, now, self.figures)
        understood = [
            query.model_copy(update={"wishes": BudgetWishes(**query.wishes.model_dump(include=set(grants)))})
            for query in self.asked
        ]
        through = self.queries.data_through()
        body = BudgetAnswers(
            data_through=through,
            figures_through=self.queries.figures_through(through),
            answers=self.queries.budgets(understood),
        )
        answers = {answer.id: answer for answer in body.answers}
        own = period_answers(prepared, self.asked, answers, through)
        made = evaluate_budget(prepared, own, None, "", now, EnforcementTerms(6 * 3600))
        merge(self.body, {"status": made.status})
        self.through, self.figures = through, body.figures_through or 0
        return copy.deepcopy(dict(self.body["status"]))


@pytest.fixture
def late(tmp_path: Path) -> LateGrid:
    """An hour with its figure of 100 g/kWh, and two that it stands in for."""
    made = LateGrid(tmp_path)
    for hour in range(3):
        made.report(hour)
    made.publish(HOUR + 3700, h0=100)
    return made


NOW = HOUR + 3 * 3600 + 120


def test_first_figures_block_and_nothing_of_them_is_set_aside(late: LateGrid) -> None:
    late.evaluate(NOW)
    standing_in = late.evaluate(NOW + 60)
    assert standing_in["usedMicrograms"] == 18 * 10**6
    assert standing_in["settled"]["ownFiguresThrough"] == "2025-11-24T17:00:00Z"
    assert standing_in["settled"]["ownFiguresMicrograms"] == 6 * 10**6
    late.publish(NOW + 100, h0=100, h1=200, h2=300)
    came = late.evaluate(NOW + 120)
    assert (came["usedMicrograms"], came["settled"]["revisedMicrograms"]) == (36_000_001, 0)  # rounded by hour
    assert (came["state"], came["enforcement"]["action"]) == ("Exceeded", "Block")
    assert "ownFiguresThrough" not in late.evaluate(NOW + 180)["settled"]


def test_a_revised_figure_is_set_aside_also_while_others_are_awaited(late: LateGrid) -> None:
    late.evaluate(NOW)
    late.evaluate(NOW + 60)
    late.publish(NOW + 100, h0=500)
    revised = late.evaluate(NOW + 120)
    # It is the last good figure too: the hours that it stands in for are not known yet, and count as it says.
    assert revised["usedMicrograms"] == 90 * 10**6
    assert revised["settled"]["revisedMicrograms"] == 24 * 10**6


def test_a_first_figure_below_the_one_that_stood_in_lets_go(late: LateGrid) -> None:
    late.publish(HOUR + 3800, h0=400)
    late.evaluate(NOW)
    assert late.evaluate(NOW + 60)["state"] == "Exceeded"
    late.publish(NOW + 100, h1=10, h2=10)
    came = late.evaluate(NOW + 120)
    assert (came["usedMicrograms"], came["state"]) == (25_200_000, "Warning")


# --- a server of another version --------------------------------------------------------------------------------------


def test_the_first_question_after_a_start_is_one_that_every_server_answers(late: LateGrid) -> None:
    """What a server may not know is a wish, also while the controller does not know what it grants."""
    late.evaluate(NOW)
    must = {"id", "namespaces", "selector", "start", "end", "accounting", "include", "wishes", "workloads"}
    assert {name for query in late.asked for name in query.model_dump()} == must


def test_first_figures_that_come_while_the_server_does_not_tell_them_apart_are_use_and_no_revision(
    late: LateGrid,
) -> None:
    """Or the limit would not be reached by what was emitted."""
    late.evaluate(NOW)
    assert late.evaluate(NOW + 60)["usedMicrograms"] == 18 * 10**6
    late.publish(NOW + 100, h0=100, h1=200, h2=300)
    came = late.evaluate(NOW + 120, grants=["settled_through"])
    assert (came["usedMicrograms"], came["settled"]["revisedMicrograms"]) == (36_000_001, 0)
    assert came["enforcement"]["action"] == "Block"


def test_first_figures_that_come_after_such_a_time_are_use_as_well(late: LateGrid) -> None:
    late.evaluate(NOW)
    for minute in (1, 2, 3):
        status = late.evaluate(NOW + 60 * minute, grants=["settled_through"])
    assert status["settled"]["ownFiguresMicrograms"] == 0, "of no hour it is known"
    late.publish(NOW + 200, h0=100, h1=200, h2=300)
    for minute in (4, 5):
        came = late.evaluate(NOW + 60 * minute)
        assert (came["usedMicrograms"], came["settled"]["revisedMicrograms"]) == (36_000_001, 0)
    late.publish(NOW + 400, h0=100, h1=200, h2=500)  # and from then on a revision is one again
    revised = late.evaluate(NOW + 420)
    assert revised["usedMicrograms"] == 48 * 10**6
    assert revised["usedMicrograms"] - revised["settled"]["revisedMicrograms"] == 36_000_001


def test_a_server_that_does_not_tell_what_has_settled_loses_no_facts_and_lowers_no_use(late: LateGrid) -> None:
    late.evaluate(NOW)
    late.evaluate(NOW + 60)
    late.publish(NOW + 100, h0=100, h1=10, h2=10)
    status = late.evaluate(NOW + 120, grants=[])
    assert (status["usedMicrograms"], "settled" in status) == (18 * 10**6, False)
    complete = [one["reason"] for one in status["conditions"] if one["type"] == "DataComplete"]
    assert complete != ["UsedFell"]
    again = late.evaluate(NOW + 180)
    assert (again["usedMicrograms"], again["settled"]["revisedMicrograms"]) == (18 * 10**6, 0)
