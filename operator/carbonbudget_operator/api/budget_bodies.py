"""Answers of /api/v1 about budgets, as its OpenAPI document describes them.

They have the fields of the objects' specs and statuses. Masses are in grams, and exact in micrograms where the status
has them exact. Every field of the status is null before the first evaluation.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from carbonbudget_operator.api.base_model import NEXT_PAGE
from carbonbudget_operator.api.budget_query_bodies import Accounting

BudgetKind = Literal["CarbonBudget", "ClusterCarbonBudget"]
BudgetState = Literal["WithinBudget", "Warning", "Exceeded", "Unknown"]


class BudgetSummary(BaseModel):
    """One budget: what is allowed, and the status as the controller wrote it last."""

    kind: BudgetKind
    namespace: str | None = Field(description="Null for a ClusterCarbonBudget")
    name: str
    state: BudgetState | None
    action: str | None = Field(description="The strongest action of the thresholds reached; empty for none")
    message: str | None = Field(description="All this in a sentence, as a refusal shows it")
    limit_g: float | None = Field(
        description="Grams of CO2 equivalent, with the adjustments of the period; null if the spec cannot be read"
    )
    limit_ug: str | None = Field(description="The same, exact, in micrograms")
    used_g: float | None = Field(description="Used in the period; with per: Workload by the workload that used most")
    used_ug: str | None = Field(description="The same, exact, in micrograms")
    percent_used: int | None = Field(description="Per cent of the limit, rounded down")
    forecast_g: float | None = Field(description="Expected by the period's end, rounded down to two digits or more")
    exhausted_at: str | None = Field(description="When the limit is expected to be used up, or was, RFC 3339, UTC")
    period: str | None = Field(description="Day, Week, Month, Quarter or Year; null for a single span")
    period_start: str | None = Field(description="RFC 3339, UTC")
    period_end: str | None = Field(description="Not included: then use counts from zero again")
    time_zone: str | None = Field(description="IANA name of the zone whose calendar divides the periods")
    per: Literal["Selection", "Workload"] | None
    accounting: Accounting | None
    include: str | None = Field(description="The components that count, joined by commas")
    dynamic_g: float | None = Field(description="Parts of what was used, rounded down; null where not included")
    idle_g: float | None
    overhead_g: float | None
    embodied_g: float | None
    enforced_action: Literal["Block", "Suspend"] | None = Field(description="What is in force now; null for nothing")
    enforced_until: str | None
    suspend_from: str | None = Field(description="From when on running Jobs that opted in are suspended")
    ready: bool | None = Field(description="Whether the budget can be evaluated")
    data_complete: bool | None = Field(description="Whether the figures are whole")
    coverage_percent: int | None = Field(description="Share of the nodes' time in the period that was reported")
    measured_percent: int | None = Field(description="Share of the energy that a meter measured")
    observed_at: str | None = Field(description="When the controller wrote the status")
    data_through: str | None = Field(description="Up to when every node had reported")
    current: bool | None = Field(description="Whether the status is of the spec as it is now")
    contact: str | None = Field(description="Whom to ask; text of the budget's owner")


class BudgetsAnswer(BaseModel):
    """The answer to GET /api/v1/budgets in JSON: in order of kind, namespace and name."""

    next: str | None = Field(description=NEXT_PAGE)
    rows: list[BudgetSummary]


class BudgetThreshold(BaseModel):
    """From `at_percent` of the limit on, `action`."""

    at_percent: int
    action: Literal["Warn", "Block", "Suspend"]
    basis: Literal["Used", "Projected"]


class BudgetWorkload(BaseModel):
    """One of the workloads that used most."""

    kind: str
    name: str
    namespace: str | None = Field(description="Null in a CarbonBudget: it is the budget's own")
    used_g: float | None = Field(description="Rounded down to two digits or more")
    percent_used: int | None
    state: BudgetState | None = Field(description="Its state by its own use; only with per: Workload")


class BudgetCondition(BaseModel):
    """A condition of the status."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    last_transition_time: str | None


class BudgetAdjustment(BaseModel):
    """What changed the limit of the period."""

    reason: Literal["CarryOver", "Overspend", "TransferIn", "TransferOut", "Credit"]
    amount_g: float = Field(description="Grams of CO2 equivalent, below 0 for a deduction")
    amount_ug: str = Field(description="The same, exact, in micrograms")
    source: str


class BudgetChildren(BaseModel):
    """The budgets that name this one as their parent."""

    count: int
    allocated_g: float | None = Field(description="The sum of their limits, with adjustments")
    unallocated_g: float | None = Field(description="What is left of this limit; 0 if they are more")


class BudgetDetail(BudgetSummary):
    """The answer to GET /api/v1/budgets/{namespace}/{name} and /api/v1/clusterbudgets/{name}."""

    base_limit_g: float | None = Field(description="The limit without adjustments; null if the spec cannot be read")
    base_limit_ug: str | None = Field(description="The same, exact, in micrograms")
    adjustments: list[BudgetAdjustment] = Field(description="In the order of booking")
    parent: str | None = Field(description="The ClusterCarbonBudget that this limit is a part of")
    children: BudgetChildren | None = Field(description="Null for a budget that no other names as its parent")
    selector: str | None = Field(description="Labels of the pods that count, as kubectl writes them; null for all pods")
    namespace_selector: str | None = Field(description="Labels of the namespaces that count; null without one")
    namespaces: list[str] | None = Field(description="Those that it selects; null where the status does not name them")
    thresholds: list[BudgetThreshold]
    top_workloads: list[BudgetWorkload] = Field(description="Most used first")
    conditions: list[BudgetCondition]


class BudgetSeriesRow(BaseModel):
    """One step of the present period. The cumulative figures are those at the step's end."""

    start: str = Field(description="RFC 3339, UTC")
    end: str
    used_g: float | None = Field(description="Used in this step; null in a step that begins after `data_through`")
    used_ug: str | None = Field(description="The same, exact, in micrograms")
    cumulative_g: float | None = Field(description="Used from the period's start to this step's end, or to now")
    cumulative_ug: str | None
    limit_g: float
    even_pace_g: float = Field(description="The limit times the share of the period that is over at the step's end")
    forecast_g: float | None = Field(
        description="In steps that end after `data_through`: on the line from the use so far to the status' forecast"
    )


class BudgetSeries(BaseModel):
    """The answer to GET /api/v1/budgets/{namespace}/{name}/series in JSON."""

    data_through: str | None = Field(description="Up to when every node had reported; null without a report")
    start: str = Field(description="Start of the present period, RFC 3339, UTC")
    end: str
    limit_g: float
    limit_ug: str
    forecast_low_g: float | None = Field(
        description="At the period's end, if the hours to come are as in the lowest of the last two to four weeks; "
        "null without a forecast, or with less than two weeks of data"
    )
    forecast_low_ug: str | None = Field(description="The same, exact, in micrograms")
    forecast_high_g: float | None = Field(description="The same by the highest of these weeks")
    forecast_high_ug: str | None
    rows: list[BudgetSeriesRow]


class FormerBudgetPeriod(BaseModel):
    """A period of the budget that is over."""

    start: str = Field(description="RFC 3339, UTC")
    end: str
    used_g: float | None = Field(description="Rounded down to two digits or more")
    limit_g: float | None = Field(description="The limit at its end, with adjustments")
    percent_used: int | None


class BudgetHistory(BaseModel):
    """The answer to GET /api/v1/budgets/{namespace}/{name}/history in JSON: the last 12 periods, newest first."""

    rows: list[FormerBudgetPeriod]
