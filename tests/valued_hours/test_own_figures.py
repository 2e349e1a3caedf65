"""Up to when hours have intensities of their own, so that a first figure is not taken for a revised one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa
from tests.ledger.reports import a_report, book
from tests.valuation.test_grid_hours import FIRST, HOUR, INTENSITY, NOW, SETTINGS, Told, follower

from carbonbudget_core.node_report import NodeInfo
from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.budgets.settled_use import FIGURES_WAIT_S
from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityHours
from carbonbudget_operator.intensity_settings import StaticSourceSettings
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

FOURTH = HOUR + 3 * 3600
STATIC = StaticSourceSettings(figures={"DE": 300}, basis="lifecycle", source="a study", year=2025)  # type: ignore[dict-item]


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """Reports of four hours."""
    book(Booker(engine), *(a_report(HOUR + 3600 * i, pods={"p": 10**9}) for i in range(4)))
    return engine


def told(engine: sa.Engine, through: int = NOW, settings: Settings = SETTINGS) -> int | None:
    return BudgetUseQueries(ValuedReader(engine, settings)).figures_through(through)


def with_sources(*sources: object) -> Settings:
    intensity = INTENSITY.model_copy(update={"sources": list(sources)})
    return Settings(carbon=CarbonSettings(zone="DE", pue=1.0, intensity=intensity))


async def test_an_hour_whose_figure_is_not_there_yet_is_where_it_ends(filled: sa.Engine) -> None:
    source = Told(says={0: 100_000, 1: 110_000})
    assert await follower(filled, source).step(NOW) == 2
    assert told(filled) == HOUR + 2 * 3600
    source.says[2] = 120_000
    await follower(filled, source).step(NOW + 900)
    assert told(filled) == FOURTH


async def test_a_figure_from_before_its_hour_was_over_is_not_the_last(filled: sa.Engine) -> None:
    """It may be of the first half of the hour, or what the source expects."""
    source = Told(says={0: 100_000, 1: 110_000, 2: 120_000})
    await follower(filled, source).step(FOURTH - 60)
    assert told(filled) == HOUR + 2 * 3600
    await follower(filled, source).step(FOURTH + 840)
    assert told(filled) == FOURTH


async def test_a_later_source_stands_in_for_an_earlier_one_that_gives_figures(filled: sa.Engine) -> None:
    first, second = Told(says={0: 100_000}), Told("second", says={0: 1, 1: 90_000, 2: 95_000})
    await follower(filled, first, second).step(NOW)
    assert told(filled) == HOUR + 3600


async def test_a_source_that_never_answered_holds_back_none_of_the_others_hours(filled: sa.Engine) -> None:
    first, second = Told(error="the key is refused"), Told("second", says={0: 1, 1: 90_000, 2: 95_000})
    await follower(filled, first, second).step(NOW)
    assert told(filled) == FOURTH


async def test_while_no_source_has_answered_yet_no_hour_has_a_figure_of_its_own(filled: sa.Engine) -> None:
    await follower(filled, Told(error="away")).step(NOW)
    assert told(filled) == HOUR


async def test_a_zone_that_no_source_is_asked_for_waits_for_nothing(filled: sa.Engine) -> None:
    await follower(filled, Told(says={0: 1}, zones={"FR": "FR"})).step(NOW)
    assert told(filled) == FOURTH


async def test_every_zone_counts_from_its_nodes_first_report_on(engine: sa.Engine) -> None:
    settings = Settings(carbon=CarbonSettings(pue=1.0, intensity=INTENSITY))
    german, dutch = (
        NodeInfo(provider_id=f"gce://p/{region}-a/i", region=region, threads=2)
        for region in ("europe-west3", "europe-west4")
    )
    reports = [replace(a_report(HOUR + 3600 * at, "de"), node_info=german) for at in range(4)]
    book(Booker(engine), *reports, replace(a_report(HOUR + 2 * 3600, "nl"), node_info=dutch))
    figures = {0: 100_000, 1: 110_000, 2: 120_000}
    first, second = Told(says=figures, zones={"DE": "DE"}), Told("second", error="away", zones={"NL": "NL"})
    await follower(engine, first, second, settings=settings).step(NOW)
    assert told(engine, settings=settings) == HOUR + 2 * 3600
    second.error, second.says = "", figures
    await follower(engine, first, second, settings=settings).step(NOW + 900)
    assert told(engine, settings=settings) == FOURTH


def test_without_a_source_on_the_network_there_is_nothing_to_wait_for(filled: sa.Engine) -> None:
    assert told(filled, settings=Settings(carbon=CarbonSettings(zone="DE"))) is None
    assert told(filled, settings=with_sources(STATIC)) is None


async def test_a_figure_of_the_settings_is_an_hours_own(filled: sa.Engine) -> None:
    await follower(filled, Told(says={})).step(NOW)
    assert told(filled, settings=with_sources(STATIC, FIRST)) == FOURTH


async def test_only_hours_that_still_wait_are_looked_at(filled: sa.Engine) -> None:
    await follower(filled, Told(error="away")).step(NOW)
    late = HOUR + 3600 + FIGURES_WAIT_S
    assert told(filled, late) == HOUR + 3600
    assert told(filled, late + 3 * 3600) == late + 3 * 3600  # of the others there are no facts


def test_a_kept_figure_of_a_source_that_is_not_asked_is_the_hours_own() -> None:
    hours = IntensityHours({("first", "DE"): {HOUR: (5, False)}}, {"first": "first"}, 2)
    assert hours.has_own("DE", HOUR + 5, {})
    assert not hours.has_own("DE", HOUR + 5, {("first", "DE"): HOUR + 3599})
    assert not hours.has_own("DE", HOUR + 3600, {("first", "DE"): HOUR + 3599})
