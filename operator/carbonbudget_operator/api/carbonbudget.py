"""The CarbonBudget resource, v1alpha1. The CRD and its reference page are generated from these models.

Texts are what `kubectl explain` shows: meaning, unit, limit, default, what empty means. Rules are CEL,
checked by the API server at `kubectl apply`; each has a sentence that says what to write instead.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from carbonbudget_operator.api.query import Accounting, Component
from carbonbudget_operator.api.selector import LabelSelector

GROUP, VERSION, KIND, PLURAL = "carbonbudget.dev", "v1alpha1", "CarbonBudget", "carbonbudgets"
BLOCKING_LABEL = f"{GROUP}/blocking"


def _rules(*rules: tuple[str, str]) -> dict[str, Any]:
    """CEL rules as the API server reads them."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


class _Model(BaseModel):
    # What the API server has let in may have fields of a later version: they are ignored, not refused.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class Threshold(_Model):
    """From `at` per cent of the limit on, `action`."""

    at: int = Field(ge=1, le=1000, description="Per cent of the limit, 1 to 1000.")
    action: Literal["Warn", "Block"] = Field(
        description="Warn shows a warning at kubectl apply. Block also refuses new work (see enforce)."
    )


class Enforce(_Model):
    """What Block judges."""

    kinds: list[Literal["Job", "Pod"]] = Field(
        default=["Job", "Pod"],
        min_length=1,
        max_length=2,
        description="Kinds whose creation is refused: Job, and Pod for pods without a controller. Default: both.",
    )


class CarbonBudgetSpec(_Model):
    """What is allowed, over what time, for which pods."""

    limit: str = Field(
        max_length=24,
        description="CO2e allowed in one period: a number with a unit mg, g, kg or t, for example 5kg. "
        "0g allows nothing.",
        json_schema_extra=_rules(
            (
                "self.matches('^[0-9]{1,9}([.][0-9]{1,9})?(mg|g|kg|t)$')",
                "limit must be a number with a unit mg, g, kg or t, for example 5kg",
            )
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
    )
    end: dt.datetime | None = Field(default=None, description="End of that period, not included.")
    time_zone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        description="IANA time zone whose calendar cuts the periods, for example Europe/Paris. Default: UTC.",
        json_schema_extra=_rules(
            (
                "timestamp('2020-01-01T00:00:00Z').getHours(self) >= 0",
                "timeZone must be a name of the IANA database, for example Europe/Paris or UTC",
            )
        ),
    )
    selector: LabelSelector | None = Field(
        default=None, description="Labels of the pods that count. Empty: all pods of the namespace."
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
        json_schema_extra=_rules(
            (
                "self.map(t, t.at).isSorted() && self.all(t, self.exists_one(o, o.at == t.at))",
                "thresholds must be in ascending order of at, none twice, for example at 80 then at 100",
            ),
            (
                "!self.exists(t, t.action == 'Block' && self.exists(o, o.at > t.at && o.action == 'Warn'))",
                "a threshold above a Block must be a Block too: what blocks at 80 cannot only warn at 100",
            ),
        ),
    )
    enforce: Enforce | None = Field(default=None, description="What Block refuses. Empty: Jobs and bare pods.")
    contact: str = Field(
        default="",
        max_length=64,
        description="Whom to ask, shown in warnings and refusals, for example #ml-platform.",
    )


class PeriodStatus(_Model):
    """[start, end) of the period that counts now."""

    start: dt.datetime = Field(description="Start of the period.")
    end: dt.datetime = Field(description="End of the period: when use counts from zero again.")


class EnforcementStatus(_Model):
    """The block in force. The policy in the API server reads only this."""

    action: Literal["Block"] = Field(description="What is in force.")
    until: dt.datetime = Field(description="New work is refused until then; renewed while the budget is exceeded.")


class Condition(_Model):
    """A condition as Kubernetes defines it."""

    type: str = Field(description="Ready, DataComplete or WithinBudget.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: str = Field(default="", description="Why, as one word.")
    message: str = Field(default="", description="Why, as a sentence.")
    last_transition_time: dt.datetime | None = Field(default=None, description="When status last changed.")
    observed_generation: int | None = Field(default=None, description="The generation it was judged for.")


class CarbonBudgetStatus(_Model):
    """How the budget stands. Written by the controller alone."""

    observed_generation: int | None = Field(default=None, description="The generation that was judged.")
    period: PeriodStatus | None = Field(default=None, description="The period that counts now.")
    used: str | None = Field(default=None, description="CO2e used in the period, rounded down.")
    used_micrograms: int | None = Field(default=None, description="The same, exact, in micrograms.")
    remaining: str | None = Field(default=None, description="What is left of the limit; 0mg if nothing.")
    percent_used: int | None = Field(default=None, description="Per cent of the limit, rounded down.")
    state: Literal["WithinBudget", "Warning", "Exceeded", "Unknown"] | None = Field(
        default=None,
        description="WithinBudget; Warning: a threshold below 100 is reached; Exceeded: the limit is used up; "
        "Unknown: there is no data yet.",
    )
    action: str | None = Field(default=None, description="The strongest action reached; empty for none.")
    enforcement: EnforcementStatus | None = Field(default=None, description="Present only while blocking.")
    message: str | None = Field(default=None, description="All this in a sentence, as a refusal shows it.")
    observed_at: dt.datetime | None = Field(default=None, description="When it was last judged and changed.")
    data_through: dt.datetime | None = Field(default=None, description="Up to when every node had reported.")
    coverage: int | None = Field(default=None, description="Per cent of the nodes' time that was reported.")
    measured: int | None = Field(
        default=None, description="Per cent of the energy that a meter measured; the rest is modelled."
    )
    conditions: list[Condition] | None = Field(
        default=None, max_length=8, description="Ready, DataComplete, WithinBudget."
    )


class ObjectMeta(_Model):
    """What is needed of an object's metadata."""

    name: str
    namespace: str
    uid: str = ""
    generation: int = 1
    labels: dict[str, str] = {}


class CarbonBudget(_Model):
    """A limit on the CO2e that pods of a namespace may emit in a period."""

    metadata: ObjectMeta
    spec: CarbonBudgetSpec = Field(description="What is allowed, over what time, for which pods.")
    status: CarbonBudgetStatus = Field(
        default=CarbonBudgetStatus(), description="How the budget stands; written by the controller."
    )


SPEC_RULES = _rules(
    (
        "has(self.period) != (has(self.start) || has(self.end))",
        "write either period (Day, Week, Month, Quarter or Year), or start and end",
    ),
    ("has(self.start) == has(self.end)", "start and end belong together: write both or neither"),
    ("!has(self.start) || !has(self.end) || self.start < self.end", "end must be after start"),
    (
        "!has(self.selector) || !has(self.selector.matchLabels) || self.selector.matchLabels.all(k, k != '')",
        "selector.matchLabels has an empty key: write the label's name before the colon",
    ),
    (
        "!has(self.selector) || !has(self.selector.matchExpressions) || "
        "self.selector.matchExpressions.all(e, "
        "(e.operator in ['In', 'NotIn']) == (has(e.values) && size(e.values) > 0))",
        "selector.matchExpressions: In and NotIn need values, Exists and DoesNotExist take none",
    ),
)
