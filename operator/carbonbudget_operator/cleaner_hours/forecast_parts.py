"""Which part of a forecast is from which source: a source's own forecast ends, and the mean of past weeks goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from carbonbudget_operator.cleaner_hours.intensity_hours import HOUR


def forecast_parts(hours: Iterable[tuple[int, str]]) -> list[tuple[str, int]]:
    """Each source with the end of its last hour, in the order of their first hours. `hours`: UTC second and source."""
    ends: dict[str, int] = {}
    for start, source in sorted(hours):
        ends[source] = start + HOUR
    return list(ends.items())


def forecast_words(hours: Iterable[tuple[int, str]], when: Callable[[int], str]) -> str:
    """ "forecast of neso until 1 Dec, then mean of this hour of the week"; `when` writes an instant. Empty without any.

    The last part has no end: it is where the answer ends.
    """
    parts = forecast_parts(hours)
    texts = [f"{source} until {when(end)}" for source, end in parts[:-1]] + [source for source, _ in parts[-1:]]
    return ", then ".join(texts)
