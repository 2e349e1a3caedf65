"""What a CarbonTarget asks for: emissions per unit of work, a baseline, and by how much they are to fall by when.

Texts are what `kubectl explain` shows. Rules are CEL, checked by the API server at `kubectl apply`.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal

from pydantic import Field

from carbonbudget_operator.api.base_model import Model, rules
from carbonbudget_operator.api.budget_query_bodies import Accounting, Component
from carbonbudget_operator.api.selector import LabelSelector

PresetName = Literal[
    "vLLMOutputTokens", "vLLMPromptTokens", "vLLMRequests",
    "SGLangOutputTokens", "SGLangPromptTokens", "SGLangRequests",
    "TGIOutputTokens", "TGIRequests",
    "TritonInferences", "TritonRequests",
    "TorchServeRequests", "SeldonInferences", "KServeRequests", "IstioRequests",
    "OpenTelemetryGenAIRequests", "OpenTelemetryGenAIOutputTokens",
]  # fmt: skip
WindowName = Literal["Day", "Week", "Month"]


class UnitCounter(Model):
    """A Prometheus counter that the pods expose."""

    metric: str = Field(min_length=1, max_length=128, description="Its name, for example http_requests_total.")
    match_labels: dict[str, str] = Field(
        default={},
        description="Labels that its series must have with just these values. The labels of namespace and pod are set "
        "by carbonbudget and cannot be given. Left out: any labels.",
    )


class UnitSource(Model):
    """Who counts the units; exactly one field."""

    preset: PresetName | None = Field(
        default=None, description="A counter of a known inference server, by its name. Left out: another field says it."
    )
    counter: UnitCounter | None = Field(
        default=None, description="A counter of the pods' own in Prometheus. Left out: another field says it."
    )
    client: str | None = Field(
        default=None,
        min_length=1,
        max_length=120,
        description="Units that the pods count with the client library (carbonbudget.units), by their name. Left out: "
        "another field says it.",
    )


class ClusterUnitSource(UnitSource):
    """Who counts the units; exactly one field."""

    query: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="A PromQL expression whose value at the end of an hour is the number of units of that hour, by pod "
        "if its series have the labels of namespace and pod. Left out: another field says it.",
    )


class UnitSpec(Model):
    """The unit of work."""

    name: str = Field(min_length=1, max_length=32, description="What a person calls it, for example token.")
    per: int = Field(
        default=1,
        ge=1,
        le=1_000_000_000,
        description="Figures are per so many units, for example 1000000. Default: 1.",
    )
    source: UnitSource = Field(description="Who counts the units: preset, counter or client.")


class ClusterUnitSpec(UnitSpec):
    """The unit of work."""

    source: ClusterUnitSource = Field(description="Who counts the units: preset, counter, client or query.")


class BaselineSpec(Model):
    """What the fall is measured from: the figure of a span, or a value."""

    start: dt.datetime | None = Field(default=None, description="Start of the span, a full hour. Left out: see value.")
    end: dt.datetime | None = Field(default=None, description="Its end, not included, a full hour.")
    value: str | None = Field(
        default=None,
        max_length=24,
        description="CO2e per `unit.per` units, for example 42g, where nothing was measured. Such a target never earns "
        "credits. Left out: start and end say it.",
    )


class TargetStep(Model):
    """One step of a stepped path."""

    by: dt.datetime = Field(description="From then on the reduction is expected.")
    reduction: int = Field(ge=1, le=100, description="In per cent of the baseline.")


class ReductionSpec(Model):
    """By how much emissions per unit are to fall by when."""

    reduction: int = Field(ge=1, le=100, description="By how many per cent of the baseline, 1 to 100.")
    by: dt.datetime = Field(description="When it is to be reached.")
    path: Literal["Linear", "Stepped", "AtEnd"] = Field(
        default="Linear",
        description="What is expected before: Linear from the baseline's end on (from the creation of the target with "
        "baseline.value), Stepped by steps, AtEnd nothing. Default: Linear.",
    )
    steps: list[TargetStep] = Field(
        default=[], max_length=24, description="With path: Stepped, in order of time. Left out: with another path."
    )


class CarbonTargetSpec(Model):
    """Which emissions per which unit, from which baseline, and the path down."""

    selector: LabelSelector | None = Field(
        default=None, description="Labels of the pods that serve. Left out: all pods of the namespace."
    )
    include: list[Component] = Field(
        default=["Dynamic", "Idle", "Overhead", "Embodied"],
        min_length=1,
        max_length=4,
        description="What counts, as in a CarbonBudget. Default: all four, as the SCI specification asks.",
    )
    accounting: Accounting = Field(
        default="LocationBased",
        description="How energy is valued: LocationBased or MarketBased. Default: LocationBased.",
    )
    unit: UnitSpec = Field(description="The unit of work and who counts it.")
    window: WindowName = Field(
        default="Week",
        description="The span that a figure is of: the last 24 hours (Day), 7 days (Week) or 28 days (Month) that are "
        "reported. Savings and history are by calendar windows in timeZone. Default: Week.",
    )
    time_zone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        description="IANA time zone of the calendar windows, for example Europe/Paris. Default: UTC.",
    )
    minimum_units: int = Field(
        default=0,
        ge=0,
        le=10**15,
        description="With fewer units in the window there is no figure (NoData). Default: 0, where one unit is enough.",
    )
    baseline: BaselineSpec = Field(description="What the fall is measured from.")
    target: ReductionSpec = Field(description="By how much by when.")
    tolerance: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Up to so many per cent above the path the state is Behind, beyond them Violated. Default: 5.",
    )
    basis: Literal["Total", "Efficiency"] = Field(
        default="Total",
        description="What is compared with the path: Total is what was emitted per unit; Efficiency is the same energy "
        "valued with the baseline's grid, so that cleaner electricity neither helps nor hurts. Default: Total.",
    )


class ClusterCarbonTargetSpec(CarbonTargetSpec):
    """A CarbonTarget's fields, and which namespaces they hold for together."""

    unit: ClusterUnitSpec = Field(description="The unit of work and who counts it.")
    namespace_selector: LabelSelector | None = Field(
        default=None, description="Labels of the namespaces that count together. Left out: all namespaces."
    )


TARGET_SPEC_RULES: Final = rules()
CLUSTER_TARGET_SPEC_RULES: Final = rules()
