"""Answers of /api/v1 about targets, as its OpenAPI document describes them.

They have the fields of the objects' specs and statuses. Masses per unit are of `per` units, in grams and exact in
micrograms. Every field of the status is null before the first evaluation.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from carbonbudget_operator.api.base_model import NEXT_PAGE
from carbonbudget_operator.api.budget_bodies import BudgetCondition
from carbonbudget_operator.api.budget_query_bodies import Accounting
from carbonbudget_operator.api.target_spec import WindowName
from carbonbudget_operator.api.target_status import TargetStateName


class TargetSummary(BaseModel):
    """One target: what is asked for, and the status as the controller wrote it last."""

    kind: Literal["CarbonTarget", "ClusterCarbonTarget"]
    namespace: str | None = Field(description="Null for a ClusterCarbonTarget")
    name: str
    state: TargetStateName | None
    message: str | None = Field(description="All this in a sentence")
    unit: str | None = Field(description="The name of the unit of work, such as token")
    per: int | None = Field(description="Masses per unit are of so many units")
    reduction_percent: int | None = Field(description="By how many per cent of the baseline it is to fall")
    by: str | None = Field(description="Until when, RFC 3339, UTC")
    path: Literal["Linear", "Stepped", "AtEnd"] | None
    tolerance_percent: int | None
    basis: Literal["Total", "Efficiency"] | None
    window: WindowName | None
    time_zone: str | None = Field(description="IANA name of the zone of the calendar windows")
    accounting: Accounting | None
    include: str | None = Field(description="The components that count, joined by commas")
    current_g: float | None = Field(description="CO2 equivalent per `per` units in the window that ended last")
    current_ug: str | None = Field(description="The same, rounded down to micrograms")
    expected_g: float | None = Field(description="What the path asks for now")
    expected_ug: str | None
    baseline_g: float | None
    baseline_ug: str | None
    change_percent: float | None = Field(description="Against the baseline; negative for a fall")
    at_baseline_grid_g: float | None = Field(description="The same energy, valued with the baseline's grid")
    window_start: str | None = Field(description="Of the window of `current_g`, RFC 3339, UTC")
    window_end: str | None = Field(description="Not included")
    units: str | None = Field(description="Units of the window, a decimal number")
    emissions_g: float | None = Field(description="Of those hours of the window whose units are known")
    emissions_ug: str | None
    embodied_ug: str | None = Field(description="The part of it that is embodied")
    energy_uj: str | None = Field(description="IT energy of the same hours, in microjoules")
    hours_percent: int | None = Field(description="Share of the window's hours whose units are known")
    emissions_percent: int | None = Field(description="Share of the window's emissions whose units are known")
    measured_percent: int | None = Field(description="Share of the energy that a meter measured")
    coverage_percent: int | None = Field(description="Share of the nodes' time that was reported")
    ready: bool | None = Field(description="Whether the target can be evaluated")
    units_available: bool | None = Field(description="Whether units of the window are known")
    observed_at: str | None = Field(description="When the controller wrote the status")
    data_through: str | None = Field(description="The end of the last whole hour that counts")
    current: bool | None = Field(description="Whether the status is of the spec as it is now")


class TargetsAnswer(BaseModel):
    """The answer to GET /api/v1/targets in JSON: in order of kind, namespace and name."""

    next: str | None = Field(description=NEXT_PAGE)
    rows: list[TargetSummary]


class FrozenTargetBaseline(BaseModel):
    """The baseline as it was frozen."""

    per_unit_g: float
    per_unit_ug: str
    start: str | None = Field(description="Of the span that was measured; null where the spec gives a value")
    end: str | None
    units: str | None
    emissions_ug: str | None
    energy_uj: str | None
    frozen_at: str | None
    restated: str | None = Field(description="What it would be with the factors of today, where that differs")
    method: list[str] | None = Field(
        description="The settings by which its energy was shared out and valued, each as a key and JSON; null where a "
        "former version computed it"
    )


class TargetStepBody(BaseModel):
    """One step of a stepped path."""

    by: str = Field(description="From then on the reduction is expected, RFC 3339, UTC")
    reduction_percent: int = Field(description="In per cent of the baseline")


class TargetDetail(TargetSummary):
    """The answer to GET /api/v1/targets/{namespace}/{name} and /api/v1/clustertargets/{name}."""

    selector: str | None = Field(description="Labels of the pods that serve, as kubectl writes them; null for all pods")
    namespace_selector: str | None = Field(description="Labels of the namespaces that count; null without one")
    source: str | None = Field(description="Who counts the units: a preset, a counter, the client library or a query")
    minimum_units: int | None
    created_at: str | None = Field(
        description="RFC 3339, UTC. A linear path begins there if the spec states the baseline's value"
    )
    steps: list[TargetStepBody] = Field(description="Of a stepped path, in the order of time; of another none")
    baseline: FrozenTargetBaseline | None
    conditions: list[BudgetCondition]


class FormerTargetWindow(BaseModel):
    """A calendar window that is over."""

    start: str
    end: str
    state: TargetStateName
    per_unit_g: float
    per_unit_ug: str
    expected_g: float = Field(description="What the path asked for at its end")
    units: str
    emissions_ug: str
    energy_uj: str
    hours_percent: int
    emissions_percent: int | None
    saved_ug: str | None = Field(description="Against the baseline, at its grid; negative: it emitted more")
    absolute_fall_ug: str | None = Field(description="The fall of emissions against the baseline's rate")
    saved_uj: str | None
    money: str | None = Field(description="What that is worth by carbon.price and carbon.tariff, with the currency")


class TargetHistory(BaseModel):
    """The answer to GET /api/v1/targets/{namespace}/{name}/history in JSON: newest first."""

    rows: list[FormerTargetWindow]
