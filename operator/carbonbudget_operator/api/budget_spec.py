"""What a budget asks for. Texts are what `kubectl explain` shows: meaning, unit, limit, default, or
what left out means.

Rules are CEL, checked by the API server at `kubectl apply`; each has a sentence that says what to write instead.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal

from pydantic import Field

from carbonbudget_operator.api.base_model import SET, Model, keyed_by, rules
from carbonbudget_operator.api.budget_query_bodies import Accounting, Component
from carbonbudget_operator.api.field_rules import (
    TIME_ZONE_RULES,
    instant_rule,
    mass_rules,
    one_line,
)
from carbonbudget_operator.api.selector import LabelSelector, selector_rules
from carbonbudget_operator.api.wire_names import ENFORCED_KINDS

_INSTANT: Final = rules(instant_rule("start and end"))

_KINDS: Final = sorted(ENFORCED_KINDS)
# A kind in the plural, or with other capitals.
_NEAR_KINDS: Final = sorted(kind.lower() + ending for kind in ENFORCED_KINDS for ending in ("", "s"))


# Kubernetes' own rule for names of objects.
_NAME_RULE: Final = (
    "self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')",
    "write the name of an object: lower-case letters, digits, - and ., for example company-2026",
)


class ThresholdSpec(Model):
    """From `at` per cent of the limit on, `action`."""

    at: int = Field(ge=1, le=1000, description="The action is taken from this per cent of the limit on, 1 to 1000.")
    action: Literal["Warn", "Block", "Suspend"] = Field(
        description="Warn shows a warning at kubectl apply. Block also refuses new work (enforce.kinds says which). "
        'Suspend also suspends running Jobs that carry the label carbonbudget.dev/suspendable: "true", after '
        "enforce.grace. The chart's value enforcement.mode may allow less."
    )
    basis: Literal["Used", "Projected"] = Field(
        default="Used",
        description="What is compared with the limit: Used is what was emitted so far; Projected adds what the new "
        "work is expected to emit, and is compared when that is created. Work without a duration or without requests "
        "has no expectation and passes. Default: Used.",
    )


class EnforceSpec(Model):
    """What Block refuses, and how long Suspend waits."""

    kinds: list[str] = Field(
        default=["Job", "Pod"],
        min_length=1,
        max_length=16,
        description="Kinds of which Block refuses creation and growth (more replicas or parallelism, a Job resumed; "
        "never a rollout, nor 0 to n): Job, Pod (pods without a controller), Deployment, StatefulSet, DaemonSet, "
        "ReplicaSet, ReplicationController, or one that the chart's value enforcement.kinds names; 1 to 16. "
        "Default: Job and Pod.",
        json_schema_extra=SET
        | rules(
            (  # Any other name may be a kind of the chart's enforcement.kinds, which the API server does not know.
                "self.all(k, k.matches('^[A-Z][A-Za-z0-9]{0,62}$') && "
                f"(k in {_KINDS} || !(k.lowerAscii() in {_NEAR_KINDS})))",
                "enforce.kinds must be names of kinds in the singular, with capitals: Job, Pod, Deployment, "
                "StatefulSet, DaemonSet, ReplicaSet, ReplicationController, or one that the chart's value "
                "enforcement.kinds names",
            ),
            (
                "!self.exists(k, k.lowerAscii() in ['cronjob', 'cronjobs'])",
                "a CronJob emits nothing by itself: write Job in enforce.kinds, which covers its Jobs",
            ),
        ),
    )
    grace: str = Field(
        default="30m",
        max_length=16,
        description="How long a running Job goes on after Suspend is reached: numbers with w, d, h, m or s in this "
        "order, for example 1h30m; 0s suspends at once. Default: 30m.",
        json_schema_extra=rules(
            (  # as budgets.workload_demand.duration_s reads it
                "self != '' && self.matches("
                "'^([0-9]{1,3}w)?([0-9]{1,4}d)?([0-9]{1,6}h)?([0-9]{1,8}m)?([0-9]{1,9}s)?$')",
                "grace must be a duration of numbers with w, d, h, m or s, for example 30m or 1h30m",
            )
        ),
    )


class CarryOverSpec(Model):
    """How much of what is left at a period's end is added to the next limit."""

    max: int = Field(
        ge=1,
        le=100,
        description="At most so many per cent of the limit are carried over, 1 to 100. If the limit changed, the "
        "smaller one counts.",
    )
    periods: int = Field(
        default=1,
        ge=1,
        le=12,
        description="For how many periods what is left of a limit stays usable, 1 to 12; then it expires. The oldest "
        "is used first. Default: 1.",
    )


class CreditSpec(Model):
    """Savings of a target that raise this budget's limit."""

    target: str = Field(
        min_length=1,
        max_length=253,
        description="Name of the CarbonTarget, in the same namespace (of a ClusterCarbonTarget for a "
        "ClusterCarbonBudget).",
        json_schema_extra=rules(_NAME_RULE),
    )
    share: int = Field(
        default=100, ge=1, le=100, description="Per cent of the savings that count, 1 to 100. Default: 100."
    )
    cap: int = Field(ge=1, le=100, description="At most so many per cent of the limit in one period, 1 to 100.")
    expires_after: int = Field(
        default=1,
        ge=1,
        le=12,
        description="Where the cap leaves no room, savings are credited to a later period, at most so many periods "
        "after they were made, 1 to 12. What is not used of a credit in its period expires. Default: 1.",
    )


class CarbonBudgetSpec(Model):
    """What is allowed, over what time, for which pods."""

    limit: str = Field(
        max_length=24,
        description="CO2e allowed in one period: a number with a unit mg, g, kg or t, for example 5kg. "
        "At most 9 digits before and after the point, and no finer than a microgram. "
        "0g is exceeded by the first use that is reported.",
        json_schema_extra=rules(*mass_rules("limit")),
    )
    period: Literal["Day", "Week", "Month", "Quarter", "Year"] | None = Field(
        default=None,
        description="Length of the period, by the calendar of timeZone; use counts from zero in each. Weeks start on "
        "Monday. A budget made in mid-period counts from the period's start. Left out: spec.start and spec.end give a "
        "single period.",
    )
    start: dt.datetime | None = Field(
        default=None,
        description="Start of a single period, in the years 1971 to 9000, for example 2026-01-01T00:00:00Z; with end. "
        "Left out: spec.period gives the periods.",
        json_schema_extra=_INSTANT,
    )
    end: dt.datetime | None = Field(
        default=None,
        description="End of the single period that starts at spec.start, not included, in the years 1971 to 9000. "
        "From then on nothing counts and nothing is refused. Left out: spec.period gives the periods.",
        json_schema_extra=_INSTANT,
    )
    time_zone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        description="IANA time zone whose calendar divides the periods, and in which messages show times, for example "
        "Europe/Paris. Default: UTC.",
        json_schema_extra=TIME_ZONE_RULES,
    )
    selector: LabelSelector | None = Field(
        default=None,
        description="Labels of the pods that count (the pods' own, in a Job those of its template). "
        "Left out: all pods.",
    )
    per: Literal["Selection", "Workload"] = Field(
        default="Selection",
        description="Whose emissions the limit is compared with: Selection takes all selected pods together, Workload "
        "each Job or other workload by itself (the budget of a training run). Then nobody is warned or refused for "
        "another's run: Warn and Suspend concern the runs over it alone, and Block acts with basis: Projected only. "
        "Default: Selection.",
    )
    accounting: Accounting = Field(
        default="LocationBased",
        description="How energy is valued: LocationBased by the grid it is drawn from, MarketBased by the contracts "
        "that the cluster's settings name. Default: LocationBased.",
    )
    include: list[Component] = Field(
        default=["Dynamic", "Idle", "Overhead"],
        min_length=1,
        max_length=4,
        description="What counts: 1 to 4 components. Dynamic is energy that follows the pods' use. Idle is their "
        "share of idle energy, by what they reserve. Overhead is their share of system energy and of shared "
        "namespaces. Embodied is their share of what making the hardware emitted. The data centre's PUE always "
        "counts. Default: all but Embodied.",
        json_schema_extra=SET,
    )
    thresholds: list[ThresholdSpec] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="What happens from which per cent of the limit on, 1 to 16 of them in any order, each with another "
        "at or basis. Left out: Warn at 80 and at 100.",
        json_schema_extra=keyed_by("at", "basis")
        | rules(
            (
                "!self.exists(t, self.exists(o, o.basis == t.basis && o.at > t.at && ("
                "(t.action == 'Block' && o.action == 'Warn') || (t.action == 'Suspend' && o.action != 'Suspend'))))",
                "a threshold above another cannot ask for less: what blocks at 80 cannot only warn at 100",
            ),
            (
                "!self.exists(t, t.action == 'Suspend' && t.basis == 'Projected')",
                "Suspend acts on running Jobs, so it goes by what was used: leave basis: Projected out",
            ),
        ),
    )
    enforce: EnforceSpec | None = Field(
        default=None,
        description="What Block refuses, and how long Suspend waits. Left out: Jobs and bare pods, 30m.",
    )
    on_missing_data: Literal["KeepLast", "Unknown"] = Field(
        default="KeepLast",
        description="The verdict while there is no data (none for 15 minutes): KeepLast keeps the last verdict and "
        "its actions, Unknown drops both, so that nothing is refused. Default: KeepLast.",
    )
    parent: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Name of the ClusterCarbonBudget that this limit is a part of. It is for the sums in the status of "
        "that one, and transfers need one parent: each budget is evaluated by itself. Left out: none.",
        json_schema_extra=rules(_NAME_RULE),
    )
    carry_over: CarryOverSpec | None = Field(
        default=None,
        description="What is left of the limit at a period's end, added to the next one. Only from periods that end "
        "after this field was written, and of which at least 95 % of the nodes' time was reported. Needs period, and "
        "per: Selection. Left out: nothing is carried over.",
    )
    overspend: Literal["Deduct", "Forgive"] = Field(
        default="Forgive",
        description="What was used above the limit: Deduct takes it from the next period's limit, also if the budget "
        "is deleted and created again meanwhile; Forgive does not. Deduct needs period, and per: Selection. "
        "Default: Forgive.",
    )
    credits: list[CreditSpec] = Field(
        default=[],
        max_length=8,
        description="Targets whose savings raise the limit of the period after, at most 8, each once. Left out: none.",
        json_schema_extra=keyed_by("target"),
    )
    contact: str = Field(
        default="",
        max_length=64,
        description="Whom to ask, shown in warnings and refusals, for example #ml-platform. One line of at most 64 "
        "printable characters. Left out: no contact is shown.",
        json_schema_extra=rules(one_line("contact", "#ml-platform")),
    )


class ClusterCarbonBudgetSpec(CarbonBudgetSpec):
    """A CarbonBudget's fields, and which namespaces they hold for together."""

    namespace_selector: LabelSelector | None = Field(
        default=None,
        description="Labels of the namespaces that count together, at most 1000 of them. Left out: all namespaces.",
    )


_SPEC: Final = (
    (
        "has(self.period) != (has(self.start) || has(self.end))",
        "write either period (Day, Week, Month, Quarter or Year), or start and end",
    ),
    ("has(self.start) == has(self.end)", "start and end belong together: write both or neither"),
    ("!has(self.start) || !has(self.end) || self.start < self.end", "end must be after start"),
    (
        "!has(self.carryOver) || (has(self.period) && self.per == 'Selection')",
        "carryOver needs period, and per: Selection: only then is there a next period, and one use of the limit",
    ),
    (
        "self.overspend != 'Deduct' || (has(self.period) && self.per == 'Selection')",
        "overspend: Deduct needs period, and per: Selection: only then is there a next limit to deduct from",
    ),
    *selector_rules("selector"),
)
SPEC_RULES: Final = rules(*_SPEC)
CLUSTER_SPEC_RULES: Final = rules(*_SPEC, *selector_rules("namespaceSelector"))
