"""What a budget asks for. Texts are what `kubectl explain` shows: meaning, unit, limit, default, what empty means.

Rules are CEL, checked by the API server at `kubectl apply`; each has a sentence that says what to write instead.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal

from pydantic import Field

from carbonbudget_operator.api.model import Model, rules
from carbonbudget_operator.api.query import Accounting, Component
from carbonbudget_operator.api.selector import LabelSelector

# Instants of any sense: before and after them arithmetic of calendars ends.
_INSTANT: Final = rules(
    (
        "self >= timestamp('1971-01-01T00:00:00Z') && self < timestamp('9000-01-01T00:00:00Z')",
        "start and end must lie between the years 1971 and 9000",
    )
)


class Threshold(Model):
    """From `at` per cent of the limit on, `action`."""

    at: int = Field(ge=1, le=1000, description="Per cent of the limit, 1 to 1000.")
    action: Literal["Warn", "Block", "Suspend"] = Field(
        description="Warn shows a warning at kubectl apply. Block also refuses new work (see enforce). Suspend also "
        'suspends running Jobs that carry the label carbonbudget.dev/suspendable: "true".'
    )
    basis: Literal["Used", "Projected"] = Field(
        default="Used",
        description="What is compared with the limit: Used is what was emitted so far; Projected adds what the new "
        "work is expected to emit. Default: Used.",
    )


class Enforce(Model):
    """What Block judges."""

    kinds: list[str] = Field(
        default=["Job", "Pod"],
        min_length=1,
        max_length=16,
        description="Kinds whose creation and growth is refused: Job, Pod (pods without a controller), Deployment, "
        "StatefulSet, DaemonSet, ReplicaSet, or a kind of the cluster's configuration. Default: Job and Pod.",
        json_schema_extra=rules(
            (
                "self.all(k, k.matches('^[A-Z][A-Za-z0-9]{0,62}$'))",
                "enforce.kinds must be names of kinds, for example Job or Deployment",
            ),
            (
                "!self.exists(k, k == 'CronJob')",
                "a CronJob emits nothing by itself: write Job in enforce.kinds, and its Jobs are judged",
            ),
        ),
    )
    grace: str = Field(
        default="30m",
        max_length=8,
        description="How long a running Job goes on after Suspend is reached: a number with s, m or h. Default: 30m.",
        json_schema_extra=rules(
            ("self.matches('^[0-9]{1,4}(s|m|h)$')", "grace must be a number with s, m or h, for example 30m")
        ),
    )


class CarbonBudgetSpec(Model):
    """What is allowed, over what time, for which pods."""

    limit: str = Field(
        max_length=24,
        description="CO2e allowed in one period: a number with a unit mg, g, kg or t, for example 5kg. "
        "0g is exceeded by the first use that is reported.",
        json_schema_extra=rules(
            (
                "self.matches('^[0-9]{1,9}([.][0-9]{1,9})?(mg|g|kg|t)$')",
                "limit must be a number with a unit mg, g, kg or t, without a space, for example 5kg",
            ),
            (
                "!self.matches('[.][0-9]{4,}mg$') && !self.matches('[.][0-9]{7,}g$')",
                "limit is finer than a microgram: write at most 3 decimals of mg or 6 of g",
            ),
        ),
    )
    period: Literal["Day", "Week", "Month", "Quarter", "Year"] | None = Field(
        default=None,
        description="Length of the period, by the calendar of timeZone; weeks start on Monday. "
        "Give either period, or start and end.",
    )
    start: dt.datetime | None = Field(
        default=None,
        description="Start of a single period, instead of period, for example 2026-01-01T00:00:00Z.",
        json_schema_extra=_INSTANT,
    )
    end: dt.datetime | None = Field(
        default=None,
        description="End of that period, not included: then nothing counts and nothing is blocked any more.",
        json_schema_extra=_INSTANT,
    )
    time_zone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        description="IANA time zone whose calendar cuts the periods, for example Europe/Paris. Default: UTC.",
        json_schema_extra=rules(
            (  # CEL takes an offset such as +02:00 too, which has no calendar of its own
                "!self.contains(':') && self != 'Local' && timestamp('2020-01-01T00:00:00Z').getHours(self) >= 0",
                "timeZone must be a name of the IANA database, for example Europe/Paris or UTC",
            )
        ),
    )
    selector: LabelSelector | None = Field(
        default=None, description="Labels of the pods that count. Empty: all pods of the namespace."
    )
    per: Literal["Selection", "Workload"] = Field(
        default="Selection",
        description="Whose emissions the limit is compared with: Selection takes all selected pods together, Workload "
        "each Job or other workload by itself (the budget of a training run; it never blocks others). Default: "
        "Selection.",
    )
    accounting: Accounting = Field(
        default="LocationBased",
        description="How energy is valued: LocationBased by the grid it is drawn from, MarketBased by the contracts "
        "that the cluster's settings name.",
    )
    include: list[Component] = Field(
        default=["Dynamic", "Idle", "Overhead"],
        min_length=1,
        max_length=4,
        description="What counts: Dynamic is energy that follows the pods' use, Idle their share of idle energy by "
        "what they reserve, Overhead their share of system energy, Embodied what making the hardware emitted. PUE "
        "always counts. Default: all but Embodied.",
    )
    thresholds: list[Threshold] | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="What happens from which per cent on, in ascending order. Empty: Warn at 80 and at 100.",
        json_schema_extra=rules(
            (
                "self.map(t, t.at).isSorted() && self.all(t, self.exists_one(o, o.at == t.at && o.basis == t.basis))",
                "thresholds must be in ascending order of at, none twice, for example at 80 then at 100",
            ),
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
    enforce: Enforce | None = Field(default=None, description="What Block refuses. Empty: Jobs and bare pods.")
    on_missing_data: Literal["KeepLast", "Unknown"] = Field(
        default="KeepLast",
        description="What stands while there is no data: KeepLast keeps the last verdict and its actions, Unknown "
        "drops both and blocks nothing. Default: KeepLast.",
    )
    contact: str = Field(
        default="",
        max_length=64,
        description="Whom to ask, shown in warnings and refusals, for example #ml-platform. One line.",
        json_schema_extra=rules(
            ("!self.matches('[\\\\n\\\\r]')", "contact must be one line, for example #ml-platform")
        ),
    )


class ClusterCarbonBudgetSpec(CarbonBudgetSpec):
    """A CarbonBudget's fields, and which namespaces they hold for together."""

    namespace_selector: LabelSelector | None = Field(
        default=None, description="Labels of the namespaces that count together. Empty: all namespaces."
    )


def _selector_rules(name: str) -> tuple[tuple[str, str], ...]:
    return (
        (
            f"!has(self.{name}) || !has(self.{name}.matchLabels) || self.{name}.matchLabels.all(k, k != '')",
            f"{name}.matchLabels has an empty key: write the label's name before the colon",
        ),
        (
            f"!has(self.{name}) || !has(self.{name}.matchExpressions) || "
            f"self.{name}.matchExpressions.all(e, "
            "(e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))",
            f"{name}.matchExpressions: In and NotIn need values, Exists and DoesNotExist take none",
        ),
    )


_SPEC: Final = (
    (
        "has(self.period) != (has(self.start) || has(self.end))",
        "write either period (Day, Week, Month, Quarter or Year), or start and end",
    ),
    ("has(self.start) == has(self.end)", "start and end belong together: write both or neither"),
    ("!has(self.start) || !has(self.end) || self.start < self.end", "end must be after start"),
    *_selector_rules("selector"),
)
SPEC_RULES: Final = rules(*_SPEC)
CLUSTER_SPEC_RULES: Final = rules(*_SPEC, *_selector_rules("namespaceSelector"))
