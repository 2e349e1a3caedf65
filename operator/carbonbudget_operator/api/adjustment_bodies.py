"""Bodies of POST /v1/adjustments: what the controller books on budgets' limits, and what is booked.

Micrograms are exact and signed; times are UTC seconds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

AdjustmentReason = Literal["CarryOver", "Overspend", "TransferIn", "TransferOut", "Credit"]


class BudgetPeriod(BaseModel):
    """A budget, by its names, and one of its periods. A budget that is made again under its name is the same one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str = Field(max_length=63, description="Empty for a ClusterCarbonBudget")
    name: str = Field(min_length=1, max_length=253)
    period_start: int = Field(ge=0, le=2**40)
    period_end: int = Field(ge=0, le=2**40)


class Adjustment(BaseModel):
    """One change of one budget's limit in one period. It is booked once: the first of its key stays.

    The key is the budget, the period's start, the reason and the source.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    budget: BudgetPeriod
    reason: AdjustmentReason
    source: str = Field(min_length=1, max_length=512, description="What it comes from, the same at each attempt")
    micrograms: int = Field(ge=-(2**62), le=2**62)
    detail: str = Field(default="", max_length=256, description="For people")
    booked_at: int = Field(default=0, ge=0, le=2**40)


class AdjustmentGroup(BaseModel):
    """Adjustments that are booked together or not at all, as the two sides of a transfer."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    adjustments: list[Adjustment] = Field(min_length=1, max_length=2)


class AdjustmentsRequest(BaseModel):
    """What to book, and of which budgets and periods to answer what is booked after that."""

    model_config = ConfigDict(extra="forbid")

    groups: list[AdjustmentGroup] = Field(default=[], max_length=10_000)
    budgets: list[BudgetPeriod] = Field(default=[], max_length=20_000)


class AdjustmentsAnswer(BaseModel):
    """All that is booked for the budgets and periods asked for, in the order of booking."""

    adjustments: list[Adjustment]
