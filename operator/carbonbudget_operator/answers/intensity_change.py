"""How far the sources' forecasts lie from the usual intensity of the same hours of the week, for forecasts of budgets.

A budget's profile is its use by the hour of the week. Its grams change with the grid as the energy stays the same, so
that what is expected of an hour is multiplied by forecast over usual intensity.
"""

from __future__ import annotations

from typing import Final

from carbonbudget_operator.answers.grid_intensity import zones_of_nodes
from carbonbudget_operator.answers.intensity_forecast import usual_weeks
from carbonbudget_operator.answers.source_forecasts import SourceForecasts
from carbonbudget_operator.answers.window_parser import DAY
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_USUAL: Final = 1000
_MOST_PERMILLE: Final = 10_000  # a grid that was free of carbon for weeks makes any forecast endlessly larger
_HOURS_AHEAD: Final = 7 * 24


def intensity_change(reader: ValuedReader, now: int) -> tuple[int, list[int]]:
    """The UTC second of the first hour to come, and for each hour from there on the forecast in 1/1000 of the usual.

    Of several grid zones of the nodes it is their mean, and an hour counts where each of them has a forecast. Empty
    where there is none, and with less than two weeks of figures.
    """
    begun = -(-now // HOUR) * HOUR
    zones = zones_of_nodes(reader, (now - DAY, now))
    forecasts = SourceForecasts(reader, zones, now)
    if not forecasts.has_any:
        return begun, []
    weeks = usual_weeks(reader, zones, begun, now)
    found = []
    for hour in range(begun, begun + _HOURS_AHEAD * HOUR, HOUR):
        expected, usual = forecasts.mean(zones, hour), 0
        for week in weeks.values():
            its = [] if week is None else week[hour // HOUR % len(week)]
            usual += sum(its) // len(its) if its else 0
        known = expected is not None and usual and all(week is not None for week in weeks.values())
        found.append(min(_MOST_PERMILLE, (expected or 0) * len(weeks) * _USUAL // usual) if known else _USUAL)
    while found and found[-1] == _USUAL:
        found.pop()
    return begun, found
