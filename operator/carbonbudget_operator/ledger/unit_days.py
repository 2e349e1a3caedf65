"""A day of a counter as it is stored: the letters of its hours, and the units of its pods as JSON. Pure.

`unit_tables.py` describes the form.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import orjson

HOUR: Final = 3600
DAY: Final = 86_400
PodKey = tuple[str, str]
UNKNOWN, COUNTED, WITH_GAPS, ABSENT = ".", "c", "g", "a"
NOTHING_KNOWN: Final = UNKNOWN * 24
NOT_KNOWN: Final = -1  # in place of millionths, with a namespace and no pod: its units in that hour are not known


def day_of(hour: int) -> tuple[int, int]:
    """The start of an hour's day, and which hour of it it is."""
    return hour - hour % DAY, hour % DAY // HOUR


def with_hour(
    states: str, pods: str, index: int, letter: str, micro: Mapping[PodKey, int], unknown: Collection[str] = ()
) -> tuple[str, str]:
    """The day's letters and pods with one more hour. `unknown`: namespaces of which the hour is not known."""
    found: list[tuple[str, str, list[int]]] = orjson.loads(pods)
    rows = {(namespace, pod): counts for namespace, pod, counts in found}
    for (namespace, pod), count in sorted({**micro, **{(name, ""): NOT_KNOWN for name in unknown}}.items()):
        rows.setdefault((namespace, pod), []).extend((index, count))
    made = orjson.dumps([(namespace, pod, counts) for (namespace, pod), counts in rows.items()]).decode()
    return states[:index] + letter + states[index + 1 :], made


def add_pods(pods: str, day: int, start: int, end: int, into: dict[int, dict[PodKey, int]]) -> None:
    """Add the units of the hours of [start, end) to `into`, by hour and pod."""
    hours: list[dict[PodKey, int]] = [{} for _ in range(24)]
    for namespace, pod, counts in orjson.loads(pods):
        key = namespace, pod
        for index, micro in zip(counts[::2], counts[1::2], strict=True):
            if micro != NOT_KNOWN:
                hours[index][key] = micro
    for index, found in enumerate(hours):
        if found and start <= day + index * HOUR < end:
            into[day + index * HOUR] = found
