"""The expected intensities of coming hours from those of past ones, where no source has a forecast. Pure.

Each coming hour has the mean of the same UTC hours of the week, with the lowest and the highest of them as its range.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from carbonbudget_operator.spans.pod_windows import HOUR_MS
from carbonbudget_operator.spans.step_prediction import ForecastHour

_WEEK_MS: Final = 168 * HOUR_MS


def profile_forecast(mg_per_kwh: Mapping[int, int], first_ms: int, count: int) -> list[ForecastHour]:
    """`count` hours from that of `first_ms` on, from past hours by their start (UTC milliseconds) in mgCO2e per kWh.

    An hour of the week of which there is none has the mean of the same hour of the day, else that of all. Empty
    without any past hour.
    """
    if not mg_per_kwh:
        return []
    of_week: dict[int, list[int]] = defaultdict(list)
    of_day: dict[int, list[int]] = defaultdict(list)
    for start_ms, figure in mg_per_kwh.items():
        of_week[start_ms % _WEEK_MS].append(figure)
        of_day[start_ms % (24 * HOUR_MS)].append(figure)
    every = list(mg_per_kwh.values())
    first_ms -= first_ms % HOUR_MS
    found = []
    for start_ms in range(first_ms, first_ms + count * HOUR_MS, HOUR_MS):
        figures = of_week.get(start_ms % _WEEK_MS) or of_day.get(start_ms % (24 * HOUR_MS)) or every
        found.append(ForecastHour(start_ms, sum(figures) // len(figures), min(figures), max(figures)))
    return found
