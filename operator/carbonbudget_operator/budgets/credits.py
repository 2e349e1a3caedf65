"""Which savings of targets raise which budget's limit in which period. Pure: micrograms, UTC seconds, no I/O.

A calendar window of a target is credited at most once, to one budget and one period. What was credited is a claim in
the ledger. A claim outlives budgets and targets, so nothing is credited again after a deletion, a recreation, an edit
or a restatement. Of two targets whose pods may be the same ones, only one is credited for a span of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from carbonbudget_operator.budgets.period import Calendar, Period, period_at

# As for what is carried over: missing data must not become a saving.
LEAST_KNOWN_PERCENT: Final = 95
# What the ledger can hold in one adjustment.
MOST_CREDIT_UG: Final = 2**62
PodScope = Mapping[str, frozenset[str]]  # label key: values, one of which the pod must have; empty: any pod


@dataclass(frozen=True, slots=True)
class SavedWindow:
    """A calendar window of a target that is over.

    `saved_ug`: per unit against the baseline, times its units. `fall_ug`: the absolute fall. Below 0: it emitted more.
    `known_percent`: of its emissions, by units, and of the nodes' time in it, the lower one.
    """

    period: Period
    saved_ug: int
    fall_ug: int
    known_percent: int


@dataclass(frozen=True, slots=True)
class CreditableTarget:
    """A target whose baseline was measured. `space`: its namespace; empty for a ClusterCarbonTarget.

    `frozen_at`: when the present baseline was computed: an edit or a recreation sets it anew. `baseline_end`: the end
    of the baseline's span.
    """

    space: str
    name: str
    frozen_at: int
    baseline_end: int
    accounting: str
    scope: PodScope
    windows: Sequence[SavedWindow]


@dataclass(frozen=True, slots=True)
class CreditTerms:
    """One entry of a budget's spec.credits; per cent as there."""

    target: str
    share_percent: int
    cap_percent: int
    expires_after: int


@dataclass(frozen=True, slots=True)
class CreditedBudget:
    """A budget that credits targets of its namespace. `limit_ug`: of its spec, without adjustments."""

    space: str
    name: str
    limit_ug: int
    calendar: Calendar
    zone: ZoneInfo
    accounting: str
    terms: Sequence[CreditTerms]


@dataclass(frozen=True, slots=True)
class WindowClaim:
    """A window that was credited: of which target and pods, to which budget and period, how much.

    `budget` identifies the budget within `space`, and may be a hash of its name.
    """

    space: str
    target: str
    window: Period
    scope: PodScope
    budget: str
    period: Period
    micrograms: int


def new_claims(
    budgets: Iterable[CreditedBudget],
    targets: Iterable[CreditableTarget],
    claims: Iterable[WindowClaim],
    credited: Mapping[tuple[str, str, int, str], int],
    now: int,
) -> list[WindowClaim]:
    """The windows to credit now, given all claims on windows that overlap them.

    Budgets take precedence in the order of their names, and a budget's entries in the order of its spec. `credited`:
    what is credited so far by (space, budget, start of the period, target). The `budget` of a new claim is its name.
    """
    taken = _TakenTime(claims)
    by_name = {(target.space, target.name): target for target in targets}
    sums = dict(credited)
    made: list[WindowClaim] = []
    for budget in sorted(budgets, key=lambda one: (one.space, one.name)):
        for terms in budget.terms:
            target = by_name.get((budget.space, terms.target))
            if target is None or target.accounting != budget.accounting:
                continue
            for window in sorted(target.windows, key=lambda one: (one.period.end, one.period.start)):
                amount_ug = creditable_ug(target, window, terms.share_percent, now)
                if amount_ug <= 0 or taken.overlaps(target, window.period):
                    continue
                for period in credit_periods(budget, terms, window.period, now):
                    key = budget.space, budget.name, period.start, terms.target
                    room_ug = budget.limit_ug * terms.cap_percent // 100 - sums.get(key, 0)
                    if room_ug > 0:
                        micrograms = min(amount_ug, room_ug, MOST_CREDIT_UG)
                        claim = WindowClaim(
                            budget.space, target.name, window.period, target.scope, budget.name, period, micrograms
                        )
                        made.append(claim)
                        taken.add(claim)
                        sums[key] = sums.get(key, 0) + micrograms
                        break
    return made


def creditable_ug(target: CreditableTarget, window: SavedWindow, share_percent: int, now: int) -> int:
    """Micrograms of a window that may be credited; 0 if none.

    The smaller of the saving per unit and the absolute fall counts, so that growing traffic creates no credit. The
    window must have begun after the baseline was computed, and after the baseline's span.
    """
    start, end = window.period.start, window.period.end
    if end > now or start < target.frozen_at or start < target.baseline_end:
        return 0
    if window.known_percent < LEAST_KNOWN_PERCENT:
        return 0
    return max(0, min(window.saved_ug, window.fall_ug)) * share_percent // 100


def credit_periods(budget: CreditedBudget, terms: CreditTerms, window: Period, now: int) -> list[Period]:
    """The periods into which a window can be credited, in this order: those after its end that are not over."""
    found = []
    period = period_at(budget.calendar, budget.zone, window.end - 1)
    for _ in range(terms.expires_after):
        period = period_at(budget.calendar, budget.zone, period.end)
        if period.end > now:
            found.append(period)
    return found


def are_disjoint(one: PodScope, other: PodScope) -> bool:
    """Whether no pod can be in both: they require different values of one label."""
    return any(key in other and not values & other[key] for key, values in one.items())


class _TakenTime:
    """Which time of which pods is claimed. Claims are looked up by day, so that a long history takes no longer."""

    def __init__(self, claims: Iterable[WindowClaim]) -> None:
        self._windows: set[tuple[str, str, int]] = set()
        self._by_day: dict[tuple[str, int], list[WindowClaim]] = {}
        for claim in claims:
            self.add(claim)

    def add(self, claim: WindowClaim) -> None:
        """Take the claim's time."""
        self._windows.add((claim.space, claim.target, claim.window.start))
        for day in _days(claim.window):
            self._by_day.setdefault((claim.space, day), []).append(claim)

    def overlaps(self, target: CreditableTarget, window: Period) -> bool:
        """Whether a claim may be of the same pods at the same time."""
        if (target.space, target.name, window.start) in self._windows:  # almost all windows are claimed
            return True
        return any(
            claim.window.start < window.end
            and window.start < claim.window.end
            and (claim.target == target.name or not are_disjoint(claim.scope, target.scope))
            for day in _days(window)
            for claim in self._by_day.get((target.space, day), ())
        )


def _days(window: Period) -> range:
    return range(window.start // 86_400, -(-window.end // 86_400))
