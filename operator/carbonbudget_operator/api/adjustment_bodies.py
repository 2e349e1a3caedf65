"""Bodies of POST /v1/adjustments: what the controller books on budgets' limits, and what is booked.

Micrograms are exact and signed; times are UTC seconds.
"""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

AdjustmentReason = Literal["CarryOver", "Overspend", "TransferIn", "TransferOut", "Credit"]
MOST_GROUPS: Final = 10_000
MOST_PERIODS_ASKED: Final = 20_000
# Reasons whose amounts have one sign. Overspend has both: what transfers covered since is given back.
_ADDS: Final = frozenset({"CarryOver", "TransferIn", "Credit"})
_TRANSFERS: Final = frozenset({"TransferIn", "TransferOut"})


class BudgetPeriod(BaseModel):
    """A budget, by its names, and one of its periods. A budget that is made again under its name is the same one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    namespace: str = Field(max_length=63, description="Empty for a ClusterCarbonBudget")
    name: str = Field(min_length=1, max_length=253)
    period_start: int = Field(ge=0, le=2**40)
    period_end: int = Field(ge=0, le=2**40)

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.period_end <= self.period_start:
            raise ValueError("period_end must be after period_start")
        return self


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

    @model_validator(mode="after")
    def _has_the_sign_of_its_reason(self) -> Self:
        if self.micrograms < 0 and self.reason in _ADDS:
            raise ValueError(f"{self.reason} cannot be below 0")
        if self.micrograms > 0 and self.reason == "TransferOut":
            raise ValueError("TransferOut cannot be above 0")
        return self

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What is booked once."""
        return self.budget.namespace, self.budget.name, self.budget.period_start, self.reason, self.source


class AdjustmentGroup(BaseModel):
    """Adjustments that are booked together or not at all: the two sides of a transfer, or all that closes a period.

    If one of them is booked already, all count as booked.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    adjustments: list[Adjustment] = Field(min_length=1, max_length=16)

    @model_validator(mode="after")
    def _creates_nothing(self) -> Self:
        if len({each.key for each in self.adjustments}) < len(self.adjustments):
            raise ValueError("two adjustments of a group have one key")
        transfers = [each for each in self.adjustments if each.reason in _TRANSFERS]
        if not transfers:
            if len({each.budget for each in self.adjustments}) > 1:
                raise ValueError("a group that is no transfer is about one budget and one period")
            return self
        if sorted(each.reason for each in self.adjustments) != ["TransferIn", "TransferOut"]:
            raise ValueError("a transfer has two sides, TransferIn and TransferOut, and nothing else")
        if sum(each.micrograms for each in transfers) != 0:
            raise ValueError("the two sides of a transfer must add up to 0")
        if len({each.source for each in transfers}) > 1:
            raise ValueError("the two sides of a transfer must have one source")
        return self


class AdjustmentsRequest(BaseModel):
    """What to book, and of which budgets and periods to answer what is booked after that."""

    model_config = ConfigDict(extra="forbid")

    groups: list[AdjustmentGroup] = Field(default=[], max_length=MOST_GROUPS)
    budgets: list[BudgetPeriod] = Field(default=[], max_length=MOST_PERIODS_ASKED)


class AnsweredPeriod(BaseModel):
    """`BudgetPeriod` in an answer."""

    namespace: str
    name: str
    period_start: int
    period_end: int


class AnsweredAdjustment(BaseModel):
    """`Adjustment` in an answer: read as it is booked, whichever version booked it.

    A reason of a later version counts like any other: its micrograms are part of the limit.
    """

    budget: AnsweredPeriod
    reason: str
    source: str
    micrograms: int
    detail: str = ""
    booked_at: int = Field(default=0, description="UTC second; 0 if not known")

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What is booked once."""
        return self.budget.namespace, self.budget.name, self.budget.period_start, self.reason, self.source


class AdjustmentsAnswer(BaseModel):
    """All that is booked for the budgets and periods asked for, in the order of booking."""

    adjustments: list[AnsweredAdjustment]
