"""The sentence about a budget in its status, in refusals and in warnings. At most 256 characters."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from carbonbudget_operator.budgets.quantity import exact_mass, format_beside, format_mass, format_percent
from carbonbudget_operator.budgets.verdict import State, Verdict
from carbonbudget_operator.printable import printable

MAX_MESSAGE = 256  # the API server cuts warnings there
_AS_OF = ", as of "
_MAX_CONTACT = 64  # as the CRD says; an object of before that may have more


@dataclass(frozen=True, slots=True)
class Subject:
    """The names that a budget's message uses.

    `workload`: for a budget per workload, KIND/NAME of the workload that used most.

    `market`: whether its grams are market-based; the figures of the two methods cannot be compared.
    """

    name: str
    zone: ZoneInfo
    contact: str = ""
    cluster: bool = False
    recurs: bool = True
    workload: str = ""
    market: bool = False


def describe(
    subject: Subject,
    limit_ug: int,
    verdict: Verdict,
    forecast_ug: int | None,
    as_of: int = 0,
    base_limit_ug: int | None = None,
) -> str:
    """ "carbon budget monthly: used 4.1kg of 5kg CO2e (82 %), forecast 6.3kg, resets 2026-12-01; location-based, as of
    2026-11-24 12:59 CET; ask #ml-platform".

    `as_of`: up to when there were data (UTC seconds), 0 where that is not known. `base_limit_ug`: the limit without
    adjustments; where it differs from `limit_ug`, the sentence has "of 6kg CO2e (68 %; 5kg before adjustments)".
    """
    share = f"{format_percent(verdict.percent(limit_ug), verdict.used_ug)} %"
    if verdict.revised_ug:  # else the per cent would contradict the state
        share += f", {format_mass(verdict.revised_ug)} of it by revised factors"
    if base_limit_ug is not None and base_limit_ug != limit_ug:
        share += f"; {exact_mass(base_limit_ug)} before adjustments"
    rest = f"used {format_beside(verdict.used_ug, limit_ug)} of {exact_mass(limit_ug)} CO2e ({share})"
    if forecast_ug is not None:
        rest += f", forecast {format_beside(forecast_ug, limit_ug)}"
    rest += f", {'resets' if subject.recurs else 'ends'} {format_instant(verdict.period.end, subject.zone)}"
    if verdict.state is State.UNKNOWN:
        rest = f"no data now; last known: {rest}"
    rest += f"; {'market' if subject.market else 'location'}-based"
    if as_of:
        rest += f"{_AS_OF}{format_instant(as_of, subject.zone)}"
    # One line: the API server discards a messageExpression that has a line break.
    if contact := printable(" ".join(subject.contact.split()), _MAX_CONTACT):
        rest += f"; ask {contact}"
    return _fitted(replace(subject, workload=printable(subject.workload)), rest)


def describe_expected(
    subject: Subject, limit_ug: int, expected_ug: tuple[int, int, int], progress_percent: int, as_of: int
) -> str:
    """ "carbon budget own: Job/train 7.4kg of 5kg CO2e expected at its end (6.1kg to 9kg), by its own progress of 10 %;
    location-based, as of 2026-11-24 12:59 CET".

    `expected_ug`: the figure and its range.
    """
    expected, low, high = (format_beside(one, limit_ug) for one in expected_ug)
    rest = f"{expected} of {exact_mass(limit_ug)} CO2e expected at its end ({low} to {high}), by its own progress of "
    rest += f"{progress_percent} %; {'market' if subject.market else 'location'}-based"
    rest += f"{_AS_OF}{format_instant(as_of, subject.zone)}"
    return _fitted(replace(subject, workload=printable(subject.workload)), rest)


def _fitted(subject: Subject, rest: str) -> str:
    """The whole sentence. If it is too long, names are cut, and no figure."""
    kind = "cluster carbon budget" if subject.cluster else "carbon budget"
    workload = f"{subject.workload} " if subject.workload else ""
    text = f"{kind} {subject.name}: {workload}{rest}"
    excess = len(text) - MAX_MESSAGE
    if excess <= 0:
        return text
    name = _cut(subject.name, max(20, len(subject.name) - excess))
    excess -= len(subject.name) - len(name)
    workload = f"{_cut(subject.workload, max(20, len(subject.workload) - excess))} " if workload else ""
    return f"{kind} {name}: {workload}{rest}"[:MAX_MESSAGE]


def without_instant(message: str) -> str:
    """A sentence of `describe` without its "as of": it changes only if a figure does."""
    before, found, after = message.partition(_AS_OF)
    return before + after[after.find(";") if ";" in after else len(after) :] if found else message


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def format_instant(at: int, zone: ZoneInfo) -> str:
    """A local midnight as its date, anything else as local time with its zone."""
    local = dt.datetime.fromtimestamp(at, zone)
    if local.time() == dt.time.min:
        return local.strftime("%Y-%m-%d")
    return format_minute(at, zone)


def format_minute(at: int, zone: ZoneInfo) -> str:
    """Local time with its zone, for example 2026-11-24 12:59 CET. `at`: UTC seconds."""
    local = dt.datetime.fromtimestamp(at, zone)
    return local.strftime("%Y-%m-%d %H:%M ") + (local.tzname() or "")
