"""Evaluation: a budget, what it used, the time, and its former verdict, to a new verdict.

Level-based: nothing but its arguments counts, so that a controller that was away decides as one that was
not. Within one period and one generation of the budget a verdict never loosens: a `used` that falls
without a new period or an edited budget is a fault in the data, and the former verdict stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

from carbonbudget_operator.budgets.period import Period


class Action(IntEnum):
    """What a threshold asks for; each includes those before it."""

    NONE = 0
    WARN = 1
    BLOCK = 2

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
    """From `at` per cent of the limit on, `action`."""

    at: int
    action: Action


DEFAULT_THRESHOLDS = (Threshold(80, Action.WARN), Threshold(100, Action.WARN))


@dataclass(frozen=True, slots=True)
class Budget:
    """What was asked for: the limit in micrograms over the period that contains now."""

    limit_ug: int
    period: Period
    thresholds: Sequence[Threshold]
    generation: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """How it stands. `block_until` is UTC seconds, 0 while nothing is blocked."""

    period: Period
    generation: int
    used_ug: int
    state: State
    action: Action
    block_until: int

    def percent(self, limit_ug: int) -> int:
        """Per cent of the limit, rounded down. Any use of a limit of 0 is 100."""
        if limit_ug == 0:
            return 100 if self.used_ug else 0
        return self.used_ug * 100 // limit_ug


def evaluate(budget: Budget, used_ug: int, now: int, fresh_for_s: int, former: Verdict | None) -> Verdict:
    """The verdict at `now` (UTC seconds).

    A block holds until the end of the period, at most `fresh_for_s` from now: the policy in the API server
    refuses while creation lies before it, so that a dead controller lets go in the end. It is renewed at
    half of that time, to spare the API server a write each minute.
    """
    period = budget.period
    same = former is not None and former.period == period and former.generation == budget.generation
    if former is not None and same:
        used_ug = max(used_ug, former.used_ug)
    action = Action.NONE
    if period.start <= now < period.end:
        for threshold in budget.thresholds:
            if _reached(used_ug, budget.limit_ug, threshold.at):
                action = max(action, threshold.action)
    state = State.WARNING if action else State.WITHIN
    if _reached(used_ug, budget.limit_ug, 100):
        state = State.EXCEEDED
    until = 0
    if action >= Action.BLOCK:
        until = min(period.end, now + fresh_for_s)
        held = former.block_until if former is not None else 0
        # The end of the period needs no renewal; a former `until` beyond it is of another budget.
        if held <= period.end and (held == period.end or held - now > fresh_for_s // 2) and held > now:
            until = min(held, until)
    return Verdict(period, budget.generation, used_ug, state, action, until)


def _reached(used_ug: int, limit_ug: int, at: int) -> bool:
    """Whether use is at or above `at` per cent of the limit; a limit of 0 is reached by any use."""
    return used_ug > 0 if limit_ug == 0 else used_ug * 100 >= limit_ug * at
