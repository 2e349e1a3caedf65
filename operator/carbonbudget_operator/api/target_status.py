"""The status of a target; only the controller writes it. Texts are what `kubectl explain` shows."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field

from carbonbudget_operator.api.base_model import Model, Status
from carbonbudget_operator.api.budget_status import MOST_CONDITIONS, StatusCondition
from carbonbudget_operator.api.target_query_bodies import MOST_NAMED

TargetStateName = Literal["OnTrack", "Behind", "Violated", "Achieved", "NoData"]


class TargetFigure(Model):
    """Emissions per unit in a span, and what they were made of. They are of those hours whose units are known."""

    start: dt.datetime = Field(description="Start of the span.")
    end: dt.datetime = Field(description="Its end, not included.")
    per_unit: str = Field(description="CO2e per `spec.unit.per` units, rounded down.")
    per_unit_micrograms: int = Field(description="The same in whole micrograms, rounded down.")
    units: str = Field(description="Units counted, as a decimal number.")
    emissions: str = Field(description="CO2e of the hours whose units are known, rounded down.")
    emissions_micrograms: int = Field(description="The same, exact, in micrograms.")
    embodied_micrograms: int = Field(default=0, description="The part of it that making the hardware emitted.")
    energy_microjoules: int = Field(description="Energy of the same hours, in microjoules.")
    hours_percent: int = Field(
        default=100, description="Per cent of the span's hours whose units are known in all namespaces."
    )
    known_hours: int = Field(default=0, description="How many hours these are.")
    emissions_percent: int | None = Field(
        default=None,
        description="Per cent of the span's emissions whose units are known, rounded down. The rest is left out of the "
        "figure. Of several namespaces each hour of one without units is left out.",
    )
    all_emissions_micrograms: int | None = Field(
        default=None, description="CO2e of all hours in micrograms, whether or not their units are known."
    )
    measured: int = Field(default=100, description="Per cent of the energy that a meter measured.")
    coverage: int = Field(default=100, description="Per cent of the nodes' time that was reported.")


class FrozenBaseline(Model):
    """The baseline. It is computed once and stays, whatever factors are revised later."""

    per_unit: str = Field(description="CO2e per `spec.unit.per` units.")
    per_unit_micrograms: int = Field(description="The same in whole micrograms.")
    measured: TargetFigure | None = Field(
        default=None, description="The figure of the span. Left out where spec.baseline.value says it."
    )
    frozen_at: dt.datetime = Field(description="When it was computed.")
    hash: str = Field(max_length=64, description="Hash of the spec's fields that it depends on. An edit of one of them "
                      "computes the baseline again, and forfeits credits of windows before that.")  # fmt: skip
    restated: str | None = Field(
        default=None, description="What it would be with the factors of today, where that differs. It is shown alone."
    )


class ExpectedStatus(Model):
    """What the path asks for now."""

    per_unit: str = Field(description="CO2e per `spec.unit.per` units, rounded down.")
    per_unit_micrograms: int = Field(description="The same in whole micrograms.")
    reduction: str = Field(description="Per cent of the baseline by then, with one decimal.")


class SavingsStatus(Model):
    """What a calendar window saved against the baseline, at the baseline's grid. Negative: it emitted more."""

    micrograms: int = Field(description="CO2e: the baseline per unit less the window's, times its units.")
    absolute_fall_micrograms: int = Field(
        description="The emissions that the baseline's rate by time gives as many hours, less those of the window. 0 "
        "with baseline.value, which has no such rate."
    )
    microjoules: int = Field(default=0, description="Energy, in the same way.")
    money: str | None = Field(default=None, description="By carbon.price and carbon.tariff, with the currency.")


class FormerWindow(Model):
    """A calendar window that is over."""

    figure: TargetFigure = Field(description="Its figure.")
    expected_micrograms: int = Field(description="What the path asked for at its end, in micrograms per unit.per.")
    state: TargetStateName = Field(description="Its state at its end.")
    savings: SavingsStatus | None = Field(
        default=None,
        description="What it saved. Left out before the baseline's end, and with less than 95 % of the nodes' time "
        "reported.",
    )


class FormerNamespace(Model):
    """A namespace that does not count any more."""

    name: str = Field(max_length=253, description="Its name.")
    until: dt.datetime = Field(description="The whole hour from which on it does not count.")


class TargetWorkload(Status):
    """One of the workloads that emitted most."""

    kind: str = Field(description="Its kind, for example Deployment; a CronJob's Jobs count as the CronJob.")
    name: str = Field(description="Its name.")
    namespace: str | None = Field(default=None, description="Its namespace; only in a ClusterCarbonTarget.")


class CarbonTargetStatus(Status):
    """The status of a target. Only the controller writes it."""

    observed_generation: int | None = Field(
        default=None,
        description="The metadata.generation that the controller saw last, and that the conditions are of.",
    )
    evaluated_generation: int | None = Field(
        default=None,
        description="The metadata.generation whose spec was evaluated. If it is older, so are the figures.",
    )
    baseline: FrozenBaseline | None = Field(default=None, description="The baseline, once it is known.")
    current: TargetFigure | None = Field(
        default=None, description="The figure of the window that ended last. Left out while it has none."
    )
    at_baseline_grid: str | None = Field(
        default=None,
        description="CO2e per `spec.unit.per` units of the same energy, valued with the grid of the baseline's span.",
    )
    expected_now: ExpectedStatus | None = Field(default=None, description="What the path asks for now.")
    change: str | None = Field(
        default=None,
        description="The change against the baseline in per cent with one decimal, by spec.basis, for example -12.5.",
    )
    state: TargetStateName | None = Field(
        default=None,
        description="OnTrack: not above the path. Behind: above it, within the tolerance. Violated: beyond that. "
        "Achieved: the whole reduction is reached. NoData: no figure.",
    )
    message: str | None = Field(default=None, description="All this in a sentence.")
    namespaces: list[str] | None = Field(
        default=None,
        max_length=1000,
        description="Namespaces that count now; only in a ClusterCarbonTarget with a namespaceSelector.",
    )
    former_namespaces: list[FormerNamespace] | None = Field(
        default=None,
        max_length=1000,
        description="Namespaces that are deleted or not selected any more, and of which earlier hours still count.",
    )
    top_workloads: list[TargetWorkload] | None = Field(
        default=None,
        max_length=MOST_NAMED,
        description="The at most ten workloads whose pods emitted most in the window, by name. While the target is "
        "Behind or Violated they have the annotation `carbonbudget.dev/targets`.",
    )
    data_through: dt.datetime | None = Field(default=None, description="The end of the last whole hour that counts.")
    observed_at: dt.datetime | None = Field(default=None, description="When this was written.")
    history: list[FormerWindow] | None = Field(
        default=None,
        max_length=12,
        description="The last 12 calendar windows that are over and have a figure, newest first.",
    )
    conditions: list[StatusCondition] | None = Field(
        default=None,
        max_length=MOST_CONDITIONS,
        description="Ready: the target can be evaluated. BaselineFrozen: the baseline is known. UnitsAvailable: units "
        "of the window are known; with the reason NamespacesLeftOut it names namespaces whose units are not. OnTrack: "
        "neither Behind nor Violated.",
    )
