"""Bodies of the server's batch query for budgets: what the controller asks, what it is answered.

Integers are exact (micrograms, microjoules, UTC seconds); the decimal strings beside them are for
readers whose numbers end at 2**53.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from carbonbudget_operator.api.selector import LabelSelector

Component = Literal["Dynamic", "Idle", "Overhead", "Embodied"]
Accounting = Literal["LocationBased", "MarketBased"]


class BudgetQuery(BaseModel):
    """One budget's question: what did these pods emit in [start, end)?"""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=512)
    namespaces: list[str] = Field(min_length=1, max_length=1000)
    selector: LabelSelector | None = None
    start: int = Field(ge=0, le=2**40)
    end: int = Field(ge=0, le=2**40)
    accounting: Accounting = "LocationBased"
    include: list[Component] = Field(default=["Dynamic", "Idle", "Overhead"])


class BudgetQueries(BaseModel):
    """All budgets' questions in one request."""

    model_config = ConfigDict(extra="forbid")

    queries: list[BudgetQuery] = Field(max_length=10_000)


class BudgetAnswer(BaseModel):
    """One budget's answer. `used_ug` is the sum of the components asked for.

    `coverage_percent`: share of the node-time reported between the start and `data_through`.
    `measured_percent`: share of the energy counted here that a meter measured; the rest is modelled.
    """

    id: str
    used_ug: int
    used_g: str
    energy_uj: int
    energy_kwh: str
    coverage_percent: int
    measured_percent: int
    factors: list[str] = Field(default=[], description="Which intensity and PUE went into it, with source")


class BudgetAnswers(BaseModel):
    """The batch's answers, in the order of its questions.

    `data_through` is the UTC second up to which every node that reports has reported; 0 while there
    is no report at all.
    """

    data_through: int
    answers: list[BudgetAnswer]
