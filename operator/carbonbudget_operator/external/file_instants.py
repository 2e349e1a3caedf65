"""Times as files write them, as UTC seconds. Pure: `now` is an argument."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final
from zoneinfo import ZoneInfo

from carbonbudget_operator.external.import_errors import ExternalFileError, shown

_INSTANT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,][0-9]{1,9})? ?(Z|UTC|[+-][0-9]{2}:?[0-9]{2})?",
    re.ASCII,
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}", re.ASCII)
_FIRST: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)


def zone_of(name: str) -> dt.tzinfo:
    """A time zone by its IANA name; empty is UTC. Raises ExternalFileError."""
    if not name:
        return dt.UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ExternalFileError(
            f"the time zone {shown(name)} is not known: write a name such as Europe/Berlin or UTC"
        ) from None


def instant_of(text: str, zone: dt.tzinfo, where: str) -> int:
    """A time to the second, without an offset in `zone`; of a clock time that comes twice, the first.

    Raises ExternalFileError, also for a time that `zone` skips.
    """
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ExternalFileError(f"{where} is {shown(text)}, which is no time such as 2026-01-31T13:00:00")
    date, clock, offset = found.groups("")
    try:
        value = dt.datetime.fromisoformat(f"{date}T{clock}{'Z' if offset == 'UTC' else offset}")
    except ValueError:
        raise ExternalFileError(f"{where} is {shown(text)}, which is not in the calendar") from None
    if value.tzinfo is None:
        value = value.replace(tzinfo=zone)
        # At the ends of the calendar a zone's offset leaves it; these years are refused below.
        if 1 < value.year < 9999 and value.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != value.replace(
            tzinfo=None
        ):
            raise ExternalFileError(f"{where} is {shown(text)}, which the clocks of {zone} skip: check --time-zone")
    return _seconds(value, text, where)


def month_of(text: str, where: str) -> tuple[int, int]:
    """[start, end) of a month: 2026-01, or 2026-01-01. Raises ExternalFileError."""
    if _MONTH.fullmatch(text):
        text += "-01"
    if not _DATE.fullmatch(text):
        raise ExternalFileError(f"{where} is {shown(text)}, which is no month such as 2026-01 or 2026-01-01")
    try:
        first = dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
    except ValueError:
        raise ExternalFileError(f"{where} is {shown(text)}, which is not in the calendar") from None
    if first.day != 1:
        raise ExternalFileError(f"{where} is {shown(text)}: a month is named by its first day")
    start = _seconds(first, text, where)
    return start, int((first + dt.timedelta(days=32)).replace(day=1).timestamp())


def month_between(first: str, last: str, where: str) -> tuple[int, int]:
    """[start, end) of the month that two times name: its start, and its end, last day or last second.

    Raises ExternalFileError.
    """
    start, said = (instant_of(_with_time(text), dt.UTC, where) for text in (first, last))
    if said < start:
        raise ExternalFileError(f"{where} ends at {shown(last)}, before it starts at {shown(first)}")
    begun = dt.datetime.fromtimestamp(start, dt.UTC)
    end = int((begun + dt.timedelta(days=32)).replace(day=1).timestamp())
    if (begun.day, start % 86_400) != (1, 0) or said not in (end, end - 1, end - 86_400):
        raise ExternalFileError(f"{where} is {shown(first)} to {shown(last)}, which is no calendar month")
    return start, end


def check_past(end: int, now: int, where: str, hint: str = "") -> None:
    """Raise ExternalFileError for what ends after `now`."""
    if end > now:
        said = dt.datetime.fromtimestamp(end, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
        raise ExternalFileError(f"{where} ends at {said}, which is in the future{hint}")


def _with_time(text: str) -> str:
    return f"{text} 00:00:00" if _DATE.fullmatch(text) else text


def _seconds(value: dt.datetime, text: str, where: str) -> int:
    if not _FIRST <= value < dt.datetime(9000, 1, 1, tzinfo=dt.UTC):
        raise ExternalFileError(f"{where} is {shown(text)}: years from 2000 on are read")
    return int(value.timestamp())
