"""Namespaces that a ClusterCarbonTarget selected once: their earlier hours still count. No I/O, no clock.

As with a ClusterCarbonBudget, a namespace that is deleted or gets other labels takes no emissions out of what is over.
A budget counts it to the end of its period. A target has no period, so it counts the hours up to that change.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final
from zoneinfo import ZoneInfo

from carbonbudget_operator.api.carbontarget import ClusterCarbonTarget
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.budgets.coverage import still_counting
from carbonbudget_operator.budgets.period import Calendar, Period
from carbonbudget_operator.targets.target_windows import ended_windows

_HOUR: Final = 3600
# By window: the longest span that is asked for again and again, and the days in which its units may still come.
_DAYS: Final[Mapping[str, int]] = {"Day": 1, "Week": 7, "Month": 31}
_SETTLING_DAYS: Final = 4


def former_namespaces(
    target: ClusterCarbonTarget,
    live: Collection[str],
    existing: Collection[str],
    spec_hash: str,
    span: Period | None,
    zone: ZoneInfo,
    counts_from: int,
    now: int,
) -> dict[str, int]:
    """Namespaces that counted and are not in `live`, each with the end of the hour that noticed it (UTC seconds).

    `existing`: all namespaces of now. `spec_hash`: of the spec, by which an edit is noticed: it takes effect at once
    for namespaces that exist. `span`: of the baseline. `counts_from`: since when there are calendar windows. A
    namespace is forgotten when neither the rolling window nor a calendar window without a figure reaches back to it.
    """
    status = target.status
    frozen = status.baseline
    if frozen is not None:
        edited = frozen.hash != spec_hash
    else:
        edited = status.evaluated_generation != target.metadata.generation
    before = {one.name: seconds(one.until) for one in status.former_namespaces or ()}
    hour = -(-now // _HOUR) * _HOUR
    counted = {name: before.get(name, hour) for name in (*(status.namespaces or ()), *before)}
    kept = set(still_counting((), counted, existing, edited)) - set(live)
    needed = now - (_DAYS[target.spec.window] + _SETTLING_DAYS) * 24 * _HOUR
    if span is not None and (frozen is None or edited):  # the baseline is still to be computed
        needed = min(needed, span.start)
    known = {(seconds(one.figure.start), seconds(one.figure.end)) for one in status.history or () if not edited}
    for window in ended_windows(Calendar(target.spec.window), zone, counts_from, now):
        if (window.start, window.end) not in known:  # a baseline that is frozen late has them all asked for at once
            needed = min(needed, window.start)
    return {name: until for name, until in counted.items() if name in kept and until > needed}
