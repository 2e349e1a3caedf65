"""The lines in which `carbonbudget factors --fetch` reports what it fetched, or why it fetched nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySource
from carbonbudget_operator.cli.covered_span import date_of
from carbonbudget_operator.intensity_settings import StaticSourceSettings
from carbonbudget_operator.settings import CarbonSettings
from carbonbudget_operator.timeline import Timeline
from carbonbudget_operator.valuation.forecast_poller import FetchedForecast
from carbonbudget_operator.valuation.grid_hours import Fetched, make_sources


def fetched_lines(carbon: CarbonSettings, fetched: Sequence[Fetched], through: int, now: int) -> Iterator[str]:
    """One line for each source and zone, and for each source that was not asked; `through`: the last report's end.

    `through` is 0 where no node ever reported.
    """
    if not carbon.intensity.sources:
        yield (
            "nothing to fetch: carbon.intensity.sources names no source, so the bundled yearly figures apply. "
            "Name a source there, or state figures with one of type static"
        )
    network = {source.name: source for source in make_sources(Timeline.always(carbon)).at(now)}
    for given in carbon.intensity.sources:
        done = [one for one in fetched if one.source == given.name]
        yield from (_fetched(one) for one in done)
        if isinstance(given, StaticSourceSettings):
            zones = ", ".join(sorted(zone.upper() for zone in given.figures)) or "no zone"
            yield (
                f"{given.name}: nothing to fetch: its figures ({zones}) are in the settings, and apply to every hour "
                "that is not sealed and for which these are in force"
            )
        elif not done:
            yield f"{given.name}: nothing was fetched: {_why_not(network[given.name], through, now)}"


def forecast_lines(fetched: Sequence[FetchedForecast]) -> Iterator[str]:
    """One line for each source and zone that was asked for its forecast."""
    for one in fetched:
        name = f"{one.source}, zone {one.zone}: forecast"
        if one.error:
            yield f"{name}: nothing was fetched: {one.error}. If the plan has no forecasts, set forecast: false"
        else:
            yield f"{name}: fetched {one.hours} {'hour' if one.hours == 1 else 'hours'} to come"


def _fetched(one: Fetched) -> str:
    hours = f"{one.hours} {'hour' if one.hours == 1 else 'hours'}"
    if not one.error:
        return f"{one.source}, zone {one.zone}: fetched {hours}, {one.changed} new or changed"
    result = f"fetched {hours}, {one.changed} new or changed, and then failed" if one.hours else "nothing was fetched"
    return f"{one.source}, zone {one.zone}: {result}: {one.error}"


def _why_not(source: IntensitySource, through: int, now: int) -> str:
    """Why a source on the network was not asked, and what to do."""
    reach = f"{source.max_days} days, which is how far back this source is asked"
    if not through:
        return "no node has reported yet"
    if through < now - source.max_days * 86_400:
        return (
            f"no node has reported in the last {reach}; the last report ends at {date_of(through)}. Older hours keep "
            "the figures that they have; a source of type static applies to hours of any age"
        )
    return (
        f"no node of the last {reach} is in a zone that it has. Place nodes with carbon.zone or a region label, or "
        "name the zone in the source's `zones`"
    )
