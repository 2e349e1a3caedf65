"""What a CarbonTarget asks for: emissions per unit of work, a baseline, and by how much they are to fall by when.

Texts are what `kubectl explain` shows. Rules are CEL, checked by the API server at `kubectl apply`.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from carbonbudget_operator.api.base_model import SET, Model, rules
from carbonbudget_operator.api.budget_query_bodies import Accounting, Component
from carbonbudget_operator.api.field_rules import (
    TIME_ZONE_RULES,
    Rule,
    instant_rule,
    mass_rules,
    one_line,
)
from carbonbudget_operator.api.selector import LabelSelector, selector_rules

PresetName = Literal[
    "vLLMOutputTokens", "vLLMPromptTokens", "vLLMRequests",
    "SGLangOutputTokens", "SGLangPromptTokens", "SGLangRequests",
    "TGIOutputTokens", "TGIRequests",
    "TritonInferences", "TritonRequests",
    "TorchServeRequests", "SeldonInferences", "KServeRequests", "IstioRequests",
    "OpenTelemetryGenAIRequests", "OpenTelemetryGenAIOutputTokens",
]  # fmt: skip
WindowName = Literal["Day", "Week", "Month"]


_FULL_HOUR: Final[Rule] = (
    "self.getMinutes() == 0 && self.getSeconds() == 0 && self.getMilliseconds() == 0",
    "baseline.start and baseline.end must be full hours of UTC, for example 2026-09-01T00:00:00Z",
)
_BASELINE_INSTANT: Final = rules(instant_rule("baseline.start and baseline.end"), _FULL_HOUR)
_BY: Final = rules(instant_rule("target.by and the steps' by"))


def _ruled(*pairs: Rule) -> ConfigDict:
    """The configuration of a Model with rules over several of its fields."""
    return ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, json_schema_extra=rules(*pairs)
    )


class UnitCounter(Model):
    """A Prometheus counter that the pods expose."""

    metric: str = Field(
        min_length=1,
        max_length=128,
        description="Name of the Prometheus counter, for example http_requests_total.",
        json_schema_extra=rules(
            (
                "self.matches('^[a-zA-Z_:][a-zA-Z0-9_:]*$')",
                "metric must be the name of a counter, of letters, digits, '_' and ':', without labels or functions, "
                "for example http_requests_total",
            )
        ),
    )
    match_labels: dict[str, Annotated[str, Field(max_length=253)]] = Field(
        default={},
        max_length=16,
        description="Labels that its series must have with just these values, at most 16, with values of at most 253 "
        "characters. The labels of namespace and pod are set by carbonbudget and cannot be given. Left out: any "
        "labels.",
        json_schema_extra=rules(
            (
                "self.all(k, size(k) <= 128 && k.matches('^[a-zA-Z_][a-zA-Z0-9_]*$'))",
                "matchLabels must be names of Prometheus labels, of at most 128 letters, digits and '_', for example "
                "status",
            ),
            (
                "!self.exists(k, k in ['namespace', 'pod'] || k.startsWith('exported_') || k.startsWith('__'))",
                "matchLabels cannot name namespace, pod, exported_* or __*: carbonbudget sets the namespace and the "
                "pods itself; remove them",
            ),
        ),
    )


class UnitSource(Model):
    """Who counts the units; exactly one field."""

    model_config = _ruled(
        (
            "[has(self.preset), has(self.counter), has(self.client)].exists_one(given, given)",
            "unit.source: write exactly one of preset, counter and client",
        )
    )

    preset: PresetName | None = Field(
        default=None,
        description="A counter of a known inference server, by the name that carbonbudget gives it. Left out: counter, "
        "client or, in a ClusterCarbonTarget, query names the source.",
    )
    counter: UnitCounter | None = Field(
        default=None,
        description="A counter of the pods' own in Prometheus. Left out: preset, client or, in a ClusterCarbonTarget, "
        "query names the source.",
    )
    client: str | None = Field(
        default=None,
        min_length=1,
        max_length=120,
        description="Name of the units that the pods count with the client library (carbonbudget.units). Left out: "
        "preset, counter or, in a ClusterCarbonTarget, query names the source.",
        json_schema_extra=rules(one_line("unit.source.client", "inference")),
    )


class ClusterUnitSource(UnitSource):
    """Who counts the units; exactly one field."""

    model_config = _ruled(
        (
            "[has(self.preset), has(self.counter), has(self.client), has(self.query)].exists_one(given, given)",
            "unit.source: write exactly one of preset, counter, client and query",
        )
    )

    query: str | None = Field(
        default=None,
        min_length=1,
        max_length=1024,
        description="A PromQL expression whose value at the end of an hour is the number of units of that hour, by pod "
        "if its series have the labels of namespace and pod. Left out: preset, counter or client names the source.",
        json_schema_extra=rules(one_line("unit.source.query", "sum by (namespace, pod) (increase(x_total[1h]))")),
    )


def source_text(source: UnitSource) -> str:
    """Who counts the units, in a word and a name; empty where no field says it."""
    if source.preset is not None:
        return f"preset {source.preset}"
    if source.counter is not None:
        labels = ", ".join(f"{key}={value}" for key, value in sorted(source.counter.match_labels.items()))
        return f"counter {source.counter.metric}" + (f" with {labels}" if labels else "")
    if source.client is not None:
        return f"client {source.client}"
    query = source.query if isinstance(source, ClusterUnitSource) else None
    return f"query {query}" if query else ""


class UnitSpec(Model):
    """The unit of work."""

    name: str = Field(
        min_length=1,
        max_length=32,
        description="Name of the unit, as messages show it after the number of `per`, for example output tokens.",
        json_schema_extra=rules(one_line("unit.name", "token")),
    )
    per: int = Field(
        default=1,
        ge=1,
        le=1_000_000_000,
        description="Number of units that emissions are given for, for example 1000000, at most 1000000000. Default: "
        "1.",
    )
    source: UnitSource = Field(description="Who counts the units: preset, counter or client.")


class ClusterUnitSpec(UnitSpec):
    """The unit of work."""

    source: ClusterUnitSource = Field(description="Who counts the units: preset, counter, client or query.")


class BaselineSpec(Model):
    """What the fall is measured from: the figure of a span, or a value."""

    model_config = _ruled(
        (
            "has(self.value) != (has(self.start) || has(self.end))",
            "baseline: write either start and end of a span that was measured, or value",
        ),
        ("has(self.start) == has(self.end)", "baseline.start and baseline.end belong together: write both or neither"),
        ("!has(self.start) || !has(self.end) || self.start < self.end", "baseline.end must be after baseline.start"),
        (
            "!has(self.start) || !has(self.end) || self.end - self.start <= duration('8784h')",
            "the baseline's span may be at most 366 days long: choose a later start",
        ),
    )

    start: dt.datetime | None = Field(
        default=None,
        description="Start of the baseline's span, a full hour of UTC, for example 2026-09-01T00:00:00Z. Left out: "
        "baseline.value gives the baseline.",
        json_schema_extra=_BASELINE_INSTANT,
    )
    end: dt.datetime | None = Field(
        default=None,
        description="End of the baseline's span, not included, a full hour of UTC, at most 366 days after "
        "baseline.start. Left out: baseline.value gives the baseline.",
        json_schema_extra=_BASELINE_INSTANT,
    )
    value: str | None = Field(
        default=None,
        max_length=24,
        description="CO2e per `unit.per` units, for example 42g, where nothing was measured. Such a target never earns "
        "credits. Left out: the baseline is what was measured from baseline.start to baseline.end.",
        json_schema_extra=rules(
            *mass_rules("baseline.value"),
            ("!self.matches('^[0.]+[a-z]+$')", "baseline.value must be more than 0: nothing can fall below that"),
        ),
    )


class TargetStep(Model):
    """One step of a stepped path."""

    by: dt.datetime = Field(
        description="Instant from which on this step's reduction is expected.", json_schema_extra=_BY
    )
    reduction: int = Field(
        ge=1, le=100, description="Reduction that this step expects, in per cent of the baseline, 1 to 100."
    )


class ReductionSpec(Model):
    """By how much emissions per unit are to fall by when."""

    model_config = _ruled(
        (
            "(has(self.steps) && size(self.steps) > 0) == (self.path == 'Stepped')",
            "target.steps belong to path: Stepped, which needs at least one: write both or neither",
        ),
        (
            "!has(self.steps) || self.steps.all(s, s.reduction <= self.reduction && s.by <= self.by)",
            "no step may ask for more than target.reduction, nor come after target.by",
        ),
    )

    reduction: int = Field(
        ge=1,
        le=100,
        description="Fall of the emissions per unit that is to be reached, in per cent of the baseline, 1 to 100.",
    )
    by: dt.datetime = Field(
        description="Instant at which the whole reduction is to be reached, after the baseline's end, for example "
        "2027-03-01T00:00:00Z.",
        json_schema_extra=_BY,
    )
    path: Literal["Linear", "Stepped", "AtEnd"] = Field(
        default="Linear",
        description="What is expected before target.by: Linear from the baseline's end on (from the creation of the "
        "target with baseline.value), Stepped by steps, AtEnd no reduction until then. Default: Linear.",
    )
    steps: list[TargetStep] = Field(
        default=[],
        max_length=24,
        description="With path: Stepped, in order of time and reduction, at most 24. Left out: with another path.",
        json_schema_extra=rules(
            (
                "self.map(s, s.by).isSorted() && self.map(s, s.reduction).isSorted() && "
                "self.all(s, self.exists_one(o, o.by == s.by || o.reduction == s.reduction))",
                "target.steps must be in ascending order of by and of reduction, none twice",
            )
        ),
    )


class CarbonTargetSpec(Model):
    """Which emissions per which unit, from which baseline, and the path down."""

    selector: LabelSelector | None = Field(
        default=None, description="Labels of the pods that serve. Left out: all pods."
    )
    include: list[Component] = Field(
        default=["Dynamic", "Idle", "Overhead", "Embodied"],
        min_length=1,
        max_length=4,
        description="What counts, as in a CarbonBudget, 1 to 4 of Dynamic, Idle, Overhead and Embodied. Default: all "
        "four, as the SCI specification asks.",
        json_schema_extra=SET,
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
        json_schema_extra=TIME_ZONE_RULES,
    )
    minimum_units: int = Field(
        default=0,
        ge=0,
        le=10**15,
        description="With fewer units in the window there is no figure (NoData), at most 1000000000000000. Default: "
        "0, where any units at all are enough.",
    )
    baseline: BaselineSpec = Field(description="What the fall is measured from: the figure of a span, or a value.")
    target: ReductionSpec = Field(description="By how much emissions per unit are to fall, and by when.")
    tolerance: int = Field(
        default=5,
        ge=0,
        le=100,
        description="Per cent above the path up to which the state is Behind, and beyond which it is Violated; 0 to "
        "100. Default: 5.",
    )
    basis: Literal["Total", "Efficiency"] = Field(
        default="Total",
        description="What is compared with the path: Total is what was emitted per unit; Efficiency is the same energy "
        "valued with the grid of the baseline's span, so that cleaner electricity neither helps nor hurts. Default: "
        "Total.",
    )


class ClusterCarbonTargetSpec(CarbonTargetSpec):
    """A CarbonTarget's fields, and which namespaces they hold for together."""

    unit: ClusterUnitSpec = Field(description="The unit of work and who counts it.")
    namespace_selector: LabelSelector | None = Field(
        default=None,
        description="Labels of the namespaces that count together, at most 1000 of them. Left out: all namespaces.",
    )


_TARGET_SPEC: Final = (
    (
        "!has(self.baseline.end) || self.baseline.end < self.target.by",
        "target.by must be after baseline.end",
    ),
    (
        "self.basis != 'Efficiency' || !has(self.baseline.value)",
        "basis: Efficiency compares at the grid of the baseline's span: write baseline.start and baseline.end instead "
        "of value",
    ),
    *selector_rules("selector"),
)
TARGET_SPEC_RULES: Final = rules(*_TARGET_SPEC)
CLUSTER_TARGET_SPEC_RULES: Final = rules(*_TARGET_SPEC, *selector_rules("namespaceSelector"))
