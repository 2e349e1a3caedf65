"""The limit of a budget object that its use is compared with. It is the one place that reads `spec.limit` for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from carbonbudget_operator.budgets.adjustments import LimitChange, effective_limit_ug
from carbonbudget_operator.budgets.quantity import QuantityError, exact_mass, parse_mass


class _SpecWithLimit(Protocol):
    @property
    def limit(self) -> str: ...


class _StatusWithAdjustments(Protocol):
    @property
    def adjustments(self) -> Sequence[LimitChange] | None: ...


class LimitedBudget(Protocol):
    """A budget's object, as its model has it."""

    @property
    def spec(self) -> _SpecWithLimit:
        """The budget's spec."""

    @property
    def status(self) -> _StatusWithAdjustments:
        """The budget's status. The adjustments there add up to all that are booked for its period."""


def base_limit_ug(budget: LimitedBudget) -> int:
    """Micrograms of the limit without adjustments. Raises QuantityError."""
    return parse_mass(budget.spec.limit)


def limit_in_force_ug(budget: LimitedBudget) -> int:
    """Micrograms that use is compared with: the spec's limit with the adjustments of the status' period.

    It goes by the spec as it is now: an edited limit counts before the next evaluation.

    Raises:
        QuantityError: the limit is no mass.
    """
    return effective_limit_ug(base_limit_ug(budget), budget.status.adjustments or ())


def limit_in_force_text(budget: LimitedBudget) -> str:
    """The limit in force for people: as the spec has it where it is the same mass, or no mass."""
    try:
        return limit_text(budget, limit_in_force_ug(budget))
    except QuantityError:
        return budget.spec.limit


def limit_text(budget: LimitedBudget, limit_ug: int) -> str:
    """A limit of this budget for people: as the spec has it where it is the same mass. Raises QuantityError."""
    return budget.spec.limit if base_limit_ug(budget) == limit_ug else exact_mass(limit_ug)


def adjusted_limit_text(budget: LimitedBudget) -> str:
    """The limit in force, and the spec's beside it where they differ: "6kg (5kg and adjustments)"."""
    in_force = limit_in_force_text(budget)
    return in_force if in_force == budget.spec.limit else f"{in_force} ({budget.spec.limit} and adjustments)"
