"""The verdict on one budget: from its limit, its use, the time and the previous verdict.

It depends on these arguments only, so a controller that was restarted reaches the same verdict. Within one period the
use that a verdict is based on never falls while the budget counts the same, except by a lower figure of hours that are
over (settled_use.py). So a threshold that was reached stays reached, whatever else is edited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from carbonbudget_operator.budgets.period import Period

# A warning by forecast ends only below this, or a forecast near the limit would switch it on and off each minute.
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
    """The state of a budget."""

    WITHIN = "WithinBudget"
    WARNING = "Warning"
    EXCEEDED = "Exceeded"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Threshold:
    """The action from `at` per cent of the limit on, by use. Thresholds by projection belong to the webhook."""

    at: int
    action: Action


DEFAULT_THRESHOLDS = (Threshold(80, Action.WARN), Threshold(100, Action.WARN))


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """What was asked for: the limit in micrograms over the period that contains now.

    `generation`: of the object. `counted_hash` identifies what is counted (counted_hash.py).
    `per_workload`: the limit applies to each workload, and the use is that of the workload that used most. Such a
    budget blocks no other work. `grace_s`: how long running Jobs continue after Suspend is reached.
    `unknown_without_data`: without data the state is Unknown and nothing acts; otherwise the last verdict stays.
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
    """The cluster's settings: how many seconds a block holds after its renewal, and whether budgets act at all."""

    fresh_for_s: int
    acts: bool = True


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """The use in micrograms. Revised factors added `revised_ug` of it, which reaches no threshold."""

    used_ug: int
    revised_ug: int = 0

    @property
    def unrevised_ug(self) -> int:
        """The part that is compared with the thresholds."""
        return max(0, self.used_ug - self.revised_ug)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of an evaluation. UTC seconds, 0 for neither:

    `acts_until`: until when a block or a suspension is in force. `suspend_from`: when running Jobs are suspended.
    """

    period: Period
    generation: int
    used_ug: int
    state: State
    action: Action
    acts_until: int
    suspend_from: int = 0
    revised_ug: int = 0
    counted_hash: str = ""

    @property
    def use(self) -> BudgetUse:
        """The use that the verdict is based on."""
        return BudgetUse(self.used_ug, self.revised_ug)

    def percent(self, limit_ug: int) -> int:
        """Per cent of the limit, rounded down. Any use of a limit of 0 is 100."""
        return percent(self.used_ug, limit_ug)


def percent(used_ug: int, limit_ug: int) -> int:
    """Per cent of the limit, rounded down. Any use of a limit of 0 is 100."""
    if limit_ug == 0:
        return 100 if used_ug else 0
    return used_ug * 100 // limit_ug


def effective_use(
    budget: BudgetLimit, used_ug: int, revision_ug: int, previous: Verdict | None, first_figures_ug: int = 0
) -> BudgetUse:
    """The use to compare with the thresholds, from the server's figure and the previous verdict.

    `revision_ug` is what revised factors changed since that verdict, up or down. A revision upwards is set aside. A
    revision downwards first reduces what was set aside. `first_figures_ug` is what first figures changed, up or down,
    of hours for which others stood in: that use was not known before, so nothing of it is set aside. So the unrevised
    use falls only by a lower figure, and rises only by new use or a first figure.
    """
    if previous is None or not counts_the_same(budget, previous):
        return BudgetUse(used_ug)
    revised_ug = max(0, previous.revised_ug + revision_ug)
    return BudgetUse(max(0, used_ug, previous.used_ug + revision_ug + first_figures_ug), revised_ug)


def counts_the_same(budget: BudgetLimit, previous: Verdict | None) -> bool:
    """Whether the previous verdict's use is of this period and of the same pods and components.

    A verdict without a hash was read from a status that an earlier version wrote: only the same generation is
    known to count the same then.
    """
    if previous is None or previous.period != budget.period:
        return False
    if not previous.counted_hash:
        return previous.generation == budget.generation
    return previous.counted_hash == budget.counted_hash


def refuses_new_work(per_workload: bool) -> bool:
    """Whether a budget's block refuses new work. A limit for each workload never does: new work has used nothing yet.

    The controller, the webhook and enforcement all use this rule. The admission policy does not need it: it reads
    only budgets with the label that the controller sets by it.
    """
    return not per_workload


def verdict_on_use(
    budget: BudgetLimit,
    use: BudgetUse,
    forecast_ug: int | None,
    now: int,
    terms: EnforcementTerms,
    previous: Verdict | None,
) -> Verdict:
    """The verdict at `now` (UTC seconds) on a use from `effective_use`. `forecast_ug` is None while there is none.

    A block holds until the end of the period, at most `fresh_for_s` from now: the policy in the API server refuses
    only before that instant, so a failed controller cannot block for ever. The block is renewed at half of that time,
    because a renewal each minute would be a write each minute.
    """
    state, action = _state_and_action(budget, use)
    if not budget.period.start <= now < budget.period.end:
        action = Action.NONE
        state = State.EXCEEDED if state is State.EXCEEDED else State.WITHIN
    if state is State.WITHIN and _forecast_over(budget, forecast_ug, previous):
        state = State.WARNING
    blocks = action is Action.BLOCK and refuses_new_work(budget.per_workload)
    acts = terms.acts and (blocks or action is Action.SUSPEND)
    return Verdict(
        period=budget.period,
        generation=budget.generation,
        used_ug=use.used_ug,
        state=state,
        action=action,
        acts_until=_until(budget.period, now, terms.fresh_for_s, previous) if acts else 0,
        suspend_from=_suspend_from(budget, now, previous) if acts and action is Action.SUSPEND else 0,
        revised_ug=use.revised_ug,
        counted_hash=budget.counted_hash,
    )


def verdict_on_run(budget: BudgetLimit, verdict: Verdict, used_ug: int) -> Verdict:
    """The verdict on one workload by its own use. `verdict` is that of the workload that used most.

    The workload gets its share of the revision, rounded up. The result has no block and no suspension: these are the
    budget's.
    """
    use = BudgetUse(used_ug, min(used_ug, revision_share_ug(verdict.revised_ug, used_ug, verdict.used_ug)))
    state, action = _state_and_action(budget, use)
    return replace(
        verdict, used_ug=used_ug, revised_ug=use.revised_ug, state=state, action=action, acts_until=0, suspend_from=0
    )


def _state_and_action(budget: BudgetLimit, use: BudgetUse) -> tuple[State, Action]:
    """By the use alone: the strongest action of the thresholds that it reaches, and the state that follows."""
    return state_and_action(budget.thresholds, lambda at: reached(use.unrevised_ug, budget.limit_ug, at))


def state_and_action(thresholds: Sequence[Threshold], reaches: Callable[[int], bool]) -> tuple[State, Action]:
    """The strongest action of the thresholds that are reached, and the state that follows.

    `reaches(at)`: whether the use is at or above `at` per cent of the limit.
    """
    action = max((t.action for t in thresholds if reaches(t.at)), default=Action.NONE)
    if reaches(100):
        return State.EXCEEDED, action
    return State.WARNING if action else State.WITHIN, action


def revision_share_ug(revision_ug: int, used_ug: int, all_used_ug: int) -> int:
    """A workload's share, rounded up, of a revision that is known for `all_used_ug` together."""
    return -(-revision_ug * used_ug // max(1, all_used_ug))


def reached(used_ug: int, limit_ug: int, at: int) -> bool:
    """Whether use is at or above `at` per cent of the limit; a limit of 0 is reached by any use."""
    return used_ug > 0 if limit_ug == 0 else used_ug * 100 >= limit_ug * at


def _forecast_over(budget: BudgetLimit, forecast_ug: int | None, previous: Verdict | None) -> bool:
    # An edited budget can have another limit: the previous warning was then about another comparison.
    same = previous is not None and previous.period == budget.period and previous.generation == budget.generation
    warned = same and previous is not None and previous.state in (State.WARNING, State.EXCEEDED)
    if forecast_ug is None:
        return warned  # nothing newer is known
    if forecast_ug > budget.limit_ug:
        return True
    return warned and forecast_ug > 0 and reached(forecast_ug, budget.limit_ug, _FORECAST_CLEARS_BELOW)


def _until(period: Period, now: int, fresh_for_s: int, previous: Verdict | None) -> int:
    until = min(period.end, now + fresh_for_s)
    held = previous.acts_until if previous is not None else 0
    # The end of the period needs no renewal; a previous `until` beyond it is of another budget.
    if held <= period.end and (held == period.end or held - now > fresh_for_s // 2) and held > now:
        until = min(held, until)
    return until


def _suspend_from(budget: BudgetLimit, now: int, previous: Verdict | None) -> int:
    """The grace starts once in a period, when Suspend is first reached.

    An edit does not start it again, unless other pods are counted after it: these were not announced. Nor does an edit
    that could not be evaluated: the verdict that is read from such a status has no action, but its suspension's start.
    """
    if previous is not None and counts_the_same(budget, previous) and previous.suspend_from:
        return previous.suspend_from
    return now + budget.grace_s
