"""The forecast: the expected use at the end of the period, and when the limit is reached.

With less than two weeks of data it uses the mean rate so far. After that it uses, for each coming hour, the mean of the
same UTC hour of the week over at most the last four weeks, because use differs between day and night. Where the grid's
source has a forecast, the first of these hours are changed as its intensity is expected to change.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby

from carbonbudget_operator.budgets.period import Period

_HOUR = 3600
_WEEK_HOURS = 168
_LEAST_HOURS = 2 * _WEEK_HOURS
MOST_HOURS = 4 * _WEEK_HOURS
# A rate over less is noise: an hour, or a tenth of a period that is shorter than ten.
_LEAST_SECONDS = 3600
# A forecast changes a little each minute. Its instant is replaced only after a change of this part of the time left.
_STEADY_PART = 20
_STEADY_SECONDS = 600


@dataclass(frozen=True, slots=True)
class WeeklyProfile:
    """Expected micrograms in each hour of a week, hour 0 being the first of the epoch; `before_ug`: their sums.

    `near_ug` are the sums of what is expected in the hours from `near_from` (UTC seconds, a whole hour) on beyond the
    profile: the first is 0, a later one may be below 0.
    """

    hours_ug: tuple[int, ...]
    before_ug: tuple[int, ...]
    near_from: int = 0
    near_ug: tuple[int, ...] = (0,)

    def changed(self, first_hour: int, permille: Sequence[int]) -> WeeklyProfile:
        """A profile whose hours from `first_hour` (UTC seconds) on have so many thousandths of this one's."""
        first = first_hour // _HOUR
        more = [
            self.hours_ug[(first + number) % _WEEK_HOURS] * (part - 1000) // 1000
            for number, part in enumerate(permille)
        ]
        return replace(self, near_from=first * _HOUR, near_ug=tuple(accumulate(more, initial=0)))

    def until(self, at: int) -> int:
        """Expected micrograms from the epoch to `at` (UTC seconds): differences of it are what is to come."""
        hours, seconds = divmod(at, _HOUR)
        weeks, hour = divmod(hours, _WEEK_HOURS)
        near, last = hours - self.near_from // _HOUR, len(self.near_ug) - 1
        before_ug, of_hour_ug = self.near_ug[min(max(near, 0), last)], self.hours_ug[hour]
        if 0 <= near < last:
            of_hour_ug += self.near_ug[near + 1] - before_ug
        return weeks * self.before_ug[-1] + self.before_ug[hour] + before_ug + of_hour_ug * seconds // _HOUR

    def reaches(self, expected_ug: int) -> int:
        """The first second at which `until` is `expected_ug` (above 0). There must be use in the week."""
        near_end = self.near_from + (len(self.near_ug) - 1) * _HOUR
        if expected_ug <= self.until(self.near_from):
            return self._profile_reaches(expected_ug)
        if expected_ug <= self.until(near_end):
            return self.near_from + bisect_left(
                range(near_end - self.near_from), expected_ug, key=lambda after: self.until(self.near_from + after)
            )
        return self._profile_reaches(expected_ug - self.near_ug[-1])

    def _profile_reaches(self, expected_ug: int) -> int:
        weeks, rest_ug = divmod(expected_ug - 1, self.before_ug[-1])
        rest_ug += 1
        hour = bisect_left(self.before_ug, rest_ug) - 1
        seconds = -(-(rest_ug - self.before_ug[hour]) * _HOUR // self.hours_ug[hour])
        return (weeks * _WEEK_HOURS + hour) * _HOUR + seconds


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected micrograms at the period's end; UTC second at which the limit is reached, 0 if not in this period."""

    forecast_ug: int
    exhausted_at: int


def hours_of_week(first_hour: int, values: Sequence[int | None]) -> list[list[int]] | None:
    """The values of each hour of a week over at most the last four weeks, oldest first; hour 0 is the epoch's first.

    `values` are by the hour, oldest first, from `first_hour` (UTC seconds, a whole hour) on; None is not known.
    None with less than two weeks since the first that is known, or if an hour of the week has no value.
    """
    first = next((index for index, value in enumerate(values) if value is not None), len(values))
    first = max(first, len(values) - MOST_HOURS)
    if len(values) - first < _LEAST_HOURS:
        return None
    week: list[list[int]] = [[] for _ in range(_WEEK_HOURS)]
    for index in range(first, len(values)):
        if (value := values[index]) is not None:
            week[(first_hour // _HOUR + index) % _WEEK_HOURS].append(value)
    return week if all(week) else None


def weekly_profile(first_hour: int, used_ug: Sequence[int | None]) -> WeeklyProfile | None:
    """The mean week of uses by the hour, oldest first, from `first_hour` (UTC seconds, a whole hour) on.

    None is an hour whose use is not known. The result is None with less than two weeks since the first use.
    """
    week = _weeks_of_use(first_hour, used_ug)
    return None if week is None else _profile([sum(found) // len(found) for found in week])


def forecast_range(
    first_hour: int, used_ug: Sequence[int | None], used_so_far_ug: int, through: int, end: int
) -> tuple[int, int] | None:
    """The least and the most micrograms expected at `end` (UTC seconds), after a use of `used_so_far_ug` at `through`.

    One if the hours to come are as in the lowest of the last two to four weeks, the other as in the highest.
    `used_ug` are uses by the hour as for `weekly_profile`. None with less than two weeks of them.
    """
    week = _weeks_of_use(first_hour, used_ug)
    if week is None:
        return None
    ends = []
    for back in range(1, min(map(len, week)) + 1):
        its = _profile([found[-back] for found in week])
        ends.append(used_so_far_ug + its.until(max(through, end)) - its.until(through))
    return min(ends), max(ends)


def _weeks_of_use(first_hour: int, used_ug: Sequence[int | None]) -> list[list[int]] | None:
    """`hours_of_week` from the first use on.

    A cluster that is switched off in the same hours of every week reports nothing in them and uses nothing: these count
    as 0. An outage of a week or more looks the same where it is all of an hour's weeks, so it is told by its length.
    """
    first = next((index for index, value in enumerate(used_ug) if value), len(used_ug))
    first = max(first, len(used_ug) - MOST_HOURS)
    values, start = used_ug[first:], first_hour + first * _HOUR
    gaps = (sum(1 for _ in run) for is_gap, run in groupby(values, key=lambda value: value is None) if is_gap)
    if max(gaps, default=0) < _WEEK_HOURS:
        known = {index % _WEEK_HOURS for index, value in enumerate(values) if value is not None}
        values = [
            0 if value is None and index % _WEEK_HOURS not in known else value for index, value in enumerate(values)
        ]
    return hours_of_week(start, values)


def _profile(hours_ug: Sequence[int]) -> WeeklyProfile:
    return WeeklyProfile(tuple(hours_ug), (0, *accumulate(hours_ug)))


def forecast_use(
    period: Period, limit_ug: int, used_ug: int, data_from: int, data_through: int, now: int, week: WeeklyProfile | None
) -> Forecast | None:
    """The forecast after a use of `used_ug` in [`data_from`, `data_through`); None while too little is known.

    All times are UTC seconds. A limit that is reached already was reached `now`, at the latest.
    """
    since = min(max(data_from, period.start), period.end)
    through = min(max(data_through, since), period.end)
    remaining_s, elapsed_s = period.end - through, through - since
    if week is not None:
        to_come_ug = week.until(period.end) - week.until(through)
    elif remaining_s == 0:
        to_come_ug = 0
    elif elapsed_s >= min(_LEAST_SECONDS, (period.end - period.start) // 10) and elapsed_s:
        to_come_ug = used_ug * remaining_s // elapsed_s
    else:
        return None
    forecast_ug = used_ug + to_come_ug
    if forecast_ug < limit_ug or forecast_ug == 0:
        return Forecast(forecast_ug, 0)
    missing_ug = limit_ug - used_ug
    if missing_ug <= 0:
        at = now if used_ug else through  # any use reaches a limit of 0, so the first second that brings some
    elif week is not None:
        at = week.reaches(week.until(through) + missing_ug)
    else:
        at = through - (-missing_ug * elapsed_s // used_ug)
    return Forecast(forecast_ug, min(max(at, now, period.start), period.end))


def steady(at: int, previous: int, now: int) -> int:
    """The previous instant if the new one differs only a little; else the new one. UTC seconds."""
    if not at or not previous or previous < now:
        return at
    return previous if abs(at - previous) <= max(_STEADY_SECONDS, (at - now) // _STEADY_PART) else at
