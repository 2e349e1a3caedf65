"""The status of a target; only the controller writes it. Texts are what `kubectl explain` shows."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import Field

from carbonbudget_operator.api.base_model import SET, Model, Status, keyed_by
from carbonbudget_operator.api.budget_status import CONDITIONS, MOST_CONDITIONS, StatusCondition
from carbonbudget_operator.api.target_query_bodies import MOST_NAMED

TargetStateName = Literal["OnTrack", "Behind", "Violated", "Achieved", "NoData"]


class TargetFigure(Model):
    """Emissions per unit in a span, and what they were made of. They are of those hours whose units are known."""

    start: dt.datetime = Field(description="Start of the span that the figure is of.")
    end: dt.datetime = Field(description="End of the span that the figure is of, not included.")
    per_unit: str = Field(description="CO2e per `spec.unit.per` units, with a unit of mass, rounded down.")
    per_unit_micrograms: int = Field(description="CO2e per `spec.unit.per` units in micrograms, rounded down.")
    units: str = Field(description="Units counted in the span, as a decimal number.")
    emissions: str = Field(description="CO2e of the hours whose units are known, with a unit of mass, rounded down.")
    emissions_micrograms: int = Field(description="CO2e of the hours whose units are known in micrograms, exact.")
    embodied_micrograms: int = Field(
        default=0, description="CO2e of making the hardware that emissionsMicrograms includes, in micrograms."
    )
    energy_microjoules: int = Field(
        description="IT energy of the hours whose units are known, in microjoules, without cooling."
    )
    hours_percent: int = Field(
        default=100, description="Per cent of the span's hours whose units are known in all namespaces."
    )
    known_hours: int = Field(
        default=0, description="Number of the span's hours whose units are known in all namespaces."
    )
    emissions_percent: int | None = Field(
        default=None,
        description="Per cent of the span's emissions whose units are known, rounded down. The rest is left out of the "
        "figure. Of several namespaces each hour of one without units is left out.",
    )
    all_emissions_micrograms: int | None = Field(
        default=None, description="CO2e of all hours in micrograms, whether or not their units are known."
    )
    measured: int = Field(default=100, description="Per cent of the span's energy that a meter measured.")
    coverage: int = Field(default=100, description="Per cent of the nodes' time in the span that was reported.")


class FrozenBaseline(Model):
    """The baseline. It is computed once and stays, whatever factors are revised later."""

    per_unit: str = Field(description="The baseline: CO2e per `spec.unit.per` units, with a unit of mass.")
    per_unit_micrograms: int = Field(description="The baseline: CO2e per `spec.unit.per` units in micrograms.")
    measured: TargetFigure | None = Field(
        default=None,
        description="The figure of the baseline's span. Left out where spec.baseline.value gives the baseline.",
    )
    frozen_at: dt.datetime = Field(description="When the baseline was computed.")
    hash: str = Field(max_length=64, description="Hash of the spec's fields that it depends on. An edit of one of them "
                      "computes the baseline again, and forfeits credits of windows before that.")  # fmt: skip
    restated: str | None = Field(
        default=None,
        description="CO2e per `spec.unit.per` units that the baseline would be with the factors of today, where that "
        "differs. Nothing is compared with it.",
    )
    method: list[Annotated[str, Field(max_length=120)]] | None = Field(
        default=None,
        max_length=32,
        description="The settings of the operator by which its energy was shared out and valued, as far as the figure "
        "depends on them. While those of a window differ, the window has no state and no savings. Left out where a "
        "former version computed the baseline.",
    )


class ExpectedStatus(Model):
    """What the path asks for now."""

    per_unit: str = Field(description="CO2e per `spec.unit.per` units that the path allows now, rounded down.")
    per_unit_micrograms: int = Field(
        description="CO2e per `spec.unit.per` units in micrograms that the path allows now."
    )
    reduction: str = Field(description="Reduction that the path expects now, in per cent of the baseline, one decimal.")


class SavingsStatus(Model):
    """What a calendar window saved against the baseline, at the baseline's grid. Negative: it emitted more."""

    micrograms: int = Field(
        description="CO2e saved, in micrograms: the baseline per unit less the window's, times the window's units."
    )
    absolute_fall_micrograms: int = Field(
        description="CO2e in micrograms that the baseline's rate by time gives as many hours, less that of the window. "
        "0 with baseline.value, which has no such rate."
    )
    microjoules: int = Field(
        default=0,
        description="IT energy saved, in microjoules: the baseline per unit less the window's, times the window's "
        "units.",
    )
    money: str | None = Field(
        default=None,
        description="What the savings are worth by the settings carbon.price and carbon.tariff, with the currency.",
    )


class FormerWindow(Model):
    """A calendar window that is over."""

    figure: TargetFigure = Field(description="The window's figure.")
    expected_micrograms: int = Field(
        description="What the path allowed at the window's end, in micrograms of CO2e per `spec.unit.per` units."
    )
    state: TargetStateName = Field(description="The target's state at the window's end.")
    savings: SavingsStatus | None = Field(
        default=None,
        description="What the window saved against the baseline. Left out before the baseline's end, with less than "
        "95 % of the nodes' time reported, and where the window's method differs from the baseline's.",
    )


class FormerNamespace(Model):
    """A namespace that does not count any more."""

    name: str = Field(max_length=253, description="Name of a namespace that does not count any more.")
    until: dt.datetime = Field(description="The whole hour from which on the namespace does not count.")


class TargetWorkload(Status):
    """One of the workloads that emitted most."""

    kind: str = Field(
        description="Kind of the workload, for example Deployment; a CronJob's Jobs count as the CronJob."
    )
    name: str = Field(description="Name of the workload.")
    namespace: str | None = Field(default=None, description="Namespace of the workload; only in a ClusterCarbonTarget.")


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
    baseline: FrozenBaseline | None = Field(
        default=None, description="What the fall is measured from. Left out until it is known."
    )
    current: TargetFigure | None = Field(
        default=None, description="The figure of the window that ended last. Left out while it has none."
    )
    at_baseline_grid: str | None = Field(
        default=None,
        description="CO2e per `spec.unit.per` units of the same energy, valued with the grid of the baseline's span.",
    )
    expected_now: ExpectedStatus | None = Field(
        default=None, description="What the path from the baseline to the target allows now."
    )
    change: str | None = Field(
        default=None,
        description="The change against the baseline in per cent with one decimal, by spec.basis, for example -12.5.",
    )
    state: TargetStateName | None = Field(
        default=None,
        description="OnTrack: not above the path. Behind: above it, within the tolerance. Violated: beyond that. "
        "Achieved: the whole reduction is reached. NoData: no figure.",
    )
    message: str | None = Field(default=None, description="The state, the figure and what is expected, in a sentence.")
    namespaces: list[str] | None = Field(
        default=None,
        max_length=1000,
        description="Namespaces that count now; only in a ClusterCarbonTarget with a namespaceSelector.",
        json_schema_extra=SET,
    )
    former_namespaces: list[FormerNamespace] | None = Field(
        default=None,
        max_length=1000,
        description="Namespaces that are deleted or not selected any more, and of which earlier hours still count.",
        json_schema_extra=keyed_by("name"),
    )
    top_workloads: list[TargetWorkload] | None = Field(
        default=None,
        max_length=MOST_NAMED,
        description="The at most ten workloads whose pods emitted most in the window, by name. While the target is "
        "Behind or Violated they have the annotation `carbonbudget.dev/targets`.",
    )
    data_through: dt.datetime | None = Field(default=None, description="The end of the last whole hour that counts.")
    observed_at: dt.datetime | None = Field(default=None, description="When the status was written.")
    history: list[FormerWindow] | None = Field(
        default=None,
        max_length=12,
        description="The last 12 calendar windows that are over and have a figure, newest first.",
    )
    conditions: list[StatusCondition] | None = Field(
        default=None,
        max_length=MOST_CONDITIONS,
        description="What can be relied on. Ready: the target can be evaluated. BaselineFrozen: the baseline is "
        "known. UnitsAvailable: units of the window are known; with the reason NamespacesLeftOut it names namespaces "
        "whose units are not. BaselineComparable: the window was computed by the method of the baseline. "
        "OnTrack: neither Behind nor Violated.",
        json_schema_extra=CONDITIONS,
    )
