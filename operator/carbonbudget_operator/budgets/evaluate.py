"""Evaluation: a budget, what it used, the time, and its former verdict, to a new verdict.

Level-based: nothing but its arguments counts, so that a controller that was away decides as one that was
not. Within one period the use that a verdict is based on never falls while the budget counts the same, except by a
revision downwards (settled_use.py). So a threshold that was reached stays reached, whatever else is edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from carbonbudget_operator.budgets.period import Period

# A forecast at the limit would come and go each minute: it has to fall this far to be forgotten.
_FORECAST_CLEARS_BELOW = 95  # per cent of the limit


class Action(IntEnum):
    """What a threshold asks for; each includes those before it."""

    NONE = 0
    WARN = 1
    BLOCK = 2
    SUSPEND = 3

    @property
    def word(self) -> str:
        """As it is written in the API; empty for none."""
        return "" if self is Action.NONE else self.name.capitalize()


class State(StrEnum):
    """How a budget stands."""

    WITHIN = "WithinBudget"
    WARNING = "Warning"
    EXCEEDED = "Exceeded"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Threshold:
    """From `at` per cent of the limit on, `action`; by what was used (projections are the webhook's)."""

    at: int
    action: Action


DEFAULT_THRESHOLDS = (Threshold(80, Action.WARN), Threshold(100, Action.WARN))


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """What was asked for: the limit in micrograms over the period that contains now.

    `generation`: of the object. `counted_hash` identifies what is counted (counted_hash.py).
    `per_workload`: the limit is for each workload, and the use is that of the one that used most. It blocks
    nobody else. `grace_s`: how long running Jobs go on after Suspend is reached. `unknown_without_data`:
    while there is no data nothing is known and nothing acts; otherwise the last verdict stands.
    """

    limit_ug: int
    period: Period
    thresholds: Sequence[Threshold]
    generation: int
    counted_hash: str = ""
    per_workload: bool = False
    grace_s: int = 1800
    unknown_without_data: bool = False


@dataclass(frozen=True, slots=True)
class EnforcementTerms:
    """The cluster's settings: how long a block outlives its renewal, and whether budgets act at all."""

    fresh_for_s: int
    acts: bool = True


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """What was used: `revised_ug` of it came from revised factors, which are no reason to act."""

    used_ug: int
    revised_ug: int = 0

    @property
    def judged_ug(self) -> int:
        """What thresholds are compared with."""
        return max(0, self.used_ug - self.revised_ug)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it stands. `block_until` and `suspend_from` are UTC seconds, 0 for neither."""

    period: Period
    generation: int
    used_ug: int
    state: State
    action: Action
    block_until: int
    suspend_from: int = 0
    revised_ug: int = 0
    counted_hash: str = ""

    @property
    def use(self) -> BudgetUse:
        """What it was judged by."""
        return BudgetUse(self.used_ug, self.revised_ug)

    def percent(self, limit_ug: int) -> int:
        """Per cent of the limit, rounded down. Any use of a limit of 0 is 100."""
        return percent(self.used_ug, limit_ug)


def percent(used_ug: int, limit_ug: int) -> int:
    """Per cent of the limit, rounded down. Any use of a limit of 0 is 100."""
    if limit_ug == 0:
        return 100 if used_ug else 0
    return used_ug * 100 // limit_ug


def effective_use(budget: BudgetLimit, used_ug: int, revision_ug: int, former: Verdict | None) -> BudgetUse:
    """The use to judge by, after what the server says and the former verdict.

    `revision_ug` is what revised factors changed since that verdict, either way. A revision upwards is set
    aside, one downwards first takes back what was set aside. What is judged can then only fall by a
    revision, and only rise by new use.
    """
    if former is None or not counts_the_same(budget, former):
        return BudgetUse(used_ug)
    revised_ug = max(0, former.revised_ug + revision_ug)
    return BudgetUse(max(0, used_ug, former.used_ug + revision_ug), revised_ug)


def counts_the_same(budget: BudgetLimit, former: Verdict | None) -> bool:
    """Whether the former verdict's use is of this period and of the same pods and components.

    A verdict without a hash was read from a status that an earlier version wrote: only the same generation is
    known to count the same then.
    """
    if former is None or former.period != budget.period:
        return False
    if not former.counted_hash:
        return former.generation == budget.generation
    return former.counted_hash == budget.counted_hash


def evaluate(
    budget: BudgetLimit,
    use: BudgetUse,
    forecast_ug: int | None,
    now: int,
    terms: EnforcementTerms,
    former: Verdict | None,
) -> Verdict:
    """The verdict at `now` (UTC seconds) of a use as `effective_use` gives it; `forecast_ug` None while there is none.

    A block holds until the end of the period, at most `fresh_for_s` from now: the policy in the API server
    refuses while creation lies before it, so that a dead controller lets go in the end. It is renewed at
    half of that time, to spare the API server a write each minute.
    """
    action = Action.NONE
    if budget.period.start <= now < budget.period.end:
        for threshold in budget.thresholds:
            if reached(use.judged_ug, budget.limit_ug, threshold.at):
                action = max(action, threshold.action)
    state = State.WITHIN
    if reached(use.judged_ug, budget.limit_ug, 100):
        state = State.EXCEEDED
    elif action or _forecast_over(budget, forecast_ug, former):
        state = State.WARNING
    blocks = terms.acts and (action is Action.SUSPEND or (action is Action.BLOCK and not budget.per_workload))
    return Verdict(
        period=budget.period,
        generation=budget.generation,
        used_ug=use.used_ug,
        state=state,
        action=action,
        block_until=_until(budget.period, now, terms.fresh_for_s, former) if blocks else 0,
        suspend_from=_suspend_from(budget, now, former) if blocks and action is Action.SUSPEND else 0,
        revised_ug=use.revised_ug,
        counted_hash=budget.counted_hash,
    )


def run_verdict(budget: BudgetLimit, verdict: Verdict, used_ug: int) -> Verdict:
    """How one workload of a budget per workload stands by its own use; `verdict` is that of the one that used most.

    Of what revised factors added it has its share, rounded up. What is in force is the budget's, and left out.
    """
    revised_ug = min(used_ug, -(-verdict.revised_ug * used_ug // max(1, verdict.used_ug)))
    judged_ug = used_ug - revised_ug
    found = (t.action for t in budget.thresholds if reached(judged_ug, budget.limit_ug, t.at))
    action = max(found, default=Action.NONE)
    state = State.WARNING if action else State.WITHIN
    if reached(judged_ug, budget.limit_ug, 100):
        state = State.EXCEEDED
    return replace(
        verdict, used_ug=used_ug, revised_ug=revised_ug, state=state, action=action, block_until=0, suspend_from=0
    )


def reached(used_ug: int, limit_ug: int, at: int) -> bool:
    """Whether use is at or above `at` per cent of the limit; a limit of 0 is reached by any use."""
    return used_ug > 0 if limit_ug == 0 else used_ug * 100 >= limit_ug * at


def _forecast_over(budget: BudgetLimit, forecast_ug: int | None, former: Verdict | None) -> bool:
    # An edited budget can have another limit: the former warning was then about another comparison.
    same = former is not None and former.period == budget.period and former.generation == budget.generation
    warned = same and former is not None and former.state in (State.WARNING, State.EXCEEDED)
    if forecast_ug is None:
        return warned  # nothing new is known of what is to come
    if forecast_ug > budget.limit_ug:
        return True
    return warned and forecast_ug > 0 and reached(forecast_ug, budget.limit_ug, _FORECAST_CLEARS_BELOW)


def _until(period: Period, now: int, fresh_for_s: int, former: Verdict | None) -> int:
    until = min(period.end, now + fresh_for_s)
    held = former.block_until if former is not None else 0
    # The end of the period needs no renewal; a former `until` beyond it is of another budget.
    if held <= period.end and (held == period.end or held - now > fresh_for_s // 2) and held > now:
        until = min(held, until)
    return until


def _suspend_from(budget: BudgetLimit, now: int, former: Verdict | None) -> int:
    """The grace begins once: when Suspend was first reached in this period, also if the budget is edited then."""
    held = former is not None and former.period == budget.period and former.action is Action.SUSPEND
    return former.suspend_from if held and former is not None and former.suspend_from else now + budget.grace_s
