"""The status of a budget; only the controller writes it. Texts are what `kubectl explain` shows."""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal

from pydantic import ConfigDict, Field

from carbonbudget_operator.api.base_model import SET, Model, Status, keyed_by

MOST_WORKLOADS: Final = 100  # in topWorkloads: 15 KB of a status
MOST_ADJUSTMENTS: Final = 64
MOST_CONDITIONS: Final = 16
CONDITIONS: Final = keyed_by("type")
# How many a status names in any case.
TOP: Final = 5
TOP_PER_WORKLOAD: Final = 10
# Kubernetes' own: https://github.com/kubernetes/apimachinery/blob/v0.34.0/pkg/apis/meta/v1/types.go (Condition)
_DNS_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_CONDITION_TYPE: Final = rf"^({_DNS_LABEL}(\.{_DNS_LABEL})*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
_CONDITION_REASON: Final = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
# A reason of the condition FiguresExact that a command reads.
LOCATION_STANDS_IN: Final = "LocationStandsIn"


class PeriodStatus(Model):
    """[start, end) of the period that counts now."""

    start: dt.datetime = Field(description="Start of the period that counts now.")
    end: dt.datetime = Field(
        description="End of the period that counts now, not included: then use counts from zero again, or a single "
        "period is over."
    )


class EnforcementStatus(Model):
    """What is in force. The policy in the API server reads only this, on budgets with the label blocking."""

    action: Literal["Block", "Suspend"] = Field(
        description="Block: new work is refused (spec.enforce.kinds says which). Suspend: so it is, and running Jobs "
        "that opted in are suspended; with per: Workload only the Jobs over the limit are, and no new work is refused."
    )
    until: dt.datetime = Field(
        description="Until when it holds: renewed every few hours while the threshold stays reached, up to the "
        "period's end. Once it is past (the period is over, or no evaluation renewed it for hours) "
        "nothing is refused, and suspended Jobs resume."
    )
    suspend_from: dt.datetime | None = Field(
        default=None,
        description="From then on running Jobs that opted in are suspended: when Suspend was first reached in the "
        "period, plus spec.enforce.grace. With per: Workload that is the first Job's; each later one has grace of its "
        "own. Only with Suspend.",
    )


class Breakdown(Status):
    """What the use consists of; components that spec.include does not name are left out."""

    dynamic: str | None = Field(default=None, description="CO2e of the energy that follows the pods' use.")
    idle: str | None = Field(default=None, description="CO2e of the pods' share of idle energy, by what they reserve.")
    overhead: str | None = Field(
        default=None, description="CO2e of the pods' share of system energy and of shared namespaces."
    )
    embodied: str | None = Field(default=None, description="CO2e of the pods' share of making the hardware.")


class TopWorkload(Status):
    """One of the workloads that used most."""

    kind: str = Field(description="Kind of the workload, for example Job; a CronJob's Jobs count as the CronJob.")
    name: str = Field(description="Name of the workload.")
    namespace: str | None = Field(default=None, description="Namespace of the workload; only in a ClusterCarbonBudget.")
    emissions: str = Field(
        description="CO2e that the workload emitted in the period, as the budget counts, rounded down."
    )
    percent: int | None = Field(
        default=None, description="The workload's emissions in per cent of the limit, rounded down."
    )
    state: Literal["WithinBudget", "Warning", "Exceeded"] | None = Field(
        default=None,
        description="State of the workload by its own use: Warning from its lowest threshold on, Exceeded from the "
        "limit on. Each change for the worse is an Event. Only with per: Workload.",
    )
    expected: str | None = Field(
        default=None,
        description="CO2e that the workload is expected to have emitted at its end, or at the end of the period if "
        "that is earlier. It follows from the progress that its pods report, from 10 % on. Only with per: Workload; "
        "left out: no pod of it reports progress.",
    )
    expected_percent: int | None = Field(
        default=None,
        description="What the workload is expected to emit, in per cent of the limit, rounded up. Above 100 there is "
        "an Event, and nothing else. Left out as `expected` is.",
    )


class FormerPeriod(Model):
    """A period that is over."""

    start: dt.datetime = Field(description="Start of the period that is over.")
    end: dt.datetime = Field(description="End of the period that is over, not included.")
    used: str = Field(description="CO2e used in the period; with per: Workload by the workload that used most.")
    limit: str = Field(description="CO2e that spec.limit allowed at the period's end.")
    effective_limit: str | None = Field(
        default=None,
        description="CO2e that the limit with its adjustments allowed at the period's end. Left out where there were "
        "no adjustments.",
    )
    revised_micrograms: int | None = Field(
        default=None,
        description="CO2e in micrograms that revised factors added while the period ran; part of used, and not "
        "deducted. Left out where there was none.",
    )
    held_micrograms: int | None = Field(
        default=None,
        description="CO2e in micrograms that was known to be used at the last evaluation while the period ran. Only "
        "with carryOver: no more is carried over than this leaves of the limit.",
    )
    facts_lost: bool | None = Field(
        default=None,
        description="Whether the ledger lost facts of the period, so that nothing is carried over from it.",
    )


class SettledStatus(Model):
    """Use of the hours that are over, as valued at the last evaluation. It shows whether a factor was revised."""

    through: dt.datetime = Field(
        description="The start of an hour; micrograms and microjoules are of the period's use before it."
    )
    micrograms: int = Field(description="CO2e in micrograms used before `through`, as valued at the last evaluation.")
    microjoules: int = Field(description="IT energy in microjoules used before `through`, without cooling.")
    own_figures_through: dt.datetime | None = Field(
        default=None,
        description="The start of an hour. From it on the last known intensity may stand in for one that is not "
        "published yet; what the hour's first figure changes is use, no revision. Left out: nothing stands in.",
    )
    own_figures_micrograms: int | None = Field(
        default=None, description="CO2e in micrograms before ownFiguresThrough, as valued at the last evaluation."
    )
    revised_micrograms: int = Field(
        default=0,
        description="CO2e in micrograms that revised factors added after the hours were first valued; shown in used, "
        "never a reason to act.",
    )


class AdjustmentStatus(Model):
    """What changed the limit of this period."""

    reason: str = Field(  # of the ledger, where a later version may have booked for another reason
        description="CarryOver: left of limits before. Overspend: used above the limit before. TransferIn, "
        "TransferOut: by a CarbonTransfer. Credit: savings of a target."
    )
    amount: str = Field(description="CO2e that the limit changed by, with its sign, for example +12kg.")
    micrograms: int = Field(description="CO2e that the limit changed by, exact, in micrograms; negative if it fell.")
    source: str = Field(description="What changed the limit: a former period, a transfer or a target.")


class ChildrenStatus(Model):
    """Budgets that name this one as their parent."""

    count: int = Field(
        description="How many budgets name this one as their parent; those with per: Workload do not count."
    )
    allocated: str = Field(description="CO2e: the sum of the children's limits, with adjustments.")
    unallocated: str = Field(
        description="CO2e of this budget's limit, with adjustments, that no child has; 0mg if the children have more."
    )


class CountedStatus(Model):
    """What `used` counts. While the hash stays the same within a period, `used` does not fall."""

    hash: str = Field(
        max_length=64,
        description="Hash of the spec's fields that select what is counted: selector, namespaceSelector, per, "
        "accounting and include. An edit of any other field keeps the highest reading of the period.",
    )
    generation: int = Field(
        description="The evaluatedGeneration that the hash was written with. With another one it is ignored, because "
        "an older version of the controller has written used since."
    )


class StatusCondition(Status):
    """A condition as Kubernetes defines it (metav1.Condition), with its bounds and required fields.

    They are in the schema alone: an object that lacks one is still read.
    """

    model_config = ConfigDict(
        json_schema_extra={"required": ["type", "status", "reason", "message", "lastTransitionTime"]}
    )

    type: str = Field(
        description="Name of the condition; the description of conditions says which there are and what they mean.",
        json_schema_extra={"maxLength": 316, "pattern": _CONDITION_TYPE},
    )
    status: Literal["True", "False", "Unknown"] = Field(
        description="Whether the condition holds: True, False, or Unknown while that cannot be said."
    )
    reason: str = Field(
        default="",
        description="Why the condition has this status, as one word that programs can compare.",
        json_schema_extra={"minLength": 1, "maxLength": 1024, "pattern": _CONDITION_REASON},
    )
    message: str = Field(
        default="",
        description="Why the condition has this status, as a sentence.",
        json_schema_extra={"maxLength": 32768},
    )
    last_transition_time: dt.datetime | None = Field(
        default=None, description="When the condition's status last changed."
    )
    observed_generation: int | None = Field(
        default=None,
        description="The metadata.generation that the condition is about.",
        json_schema_extra={"minimum": 0},
    )


class CarbonBudgetStatus(Status):
    """The status of a budget. Only the controller writes it."""

    observed_generation: int | None = Field(
        default=None,
        description="The metadata.generation that the controller has seen, and that the conditions are of.",
    )
    evaluated_generation: int | None = Field(
        default=None,
        description="The metadata.generation whose spec was evaluated. If it is older, so are the figures.",
    )
    period: PeriodStatus | None = Field(default=None, description="Start and end of the period that counts now.")
    used: str | None = Field(
        default=None,
        description="CO2e used in the period, rounded down; with per: Workload by the workload that used most.",
    )
    used_micrograms: int | None = Field(
        default=None,
        description="CO2e used in the period, exact, in micrograms; with per: Workload by the workload that used most.",
    )
    counted: CountedStatus | None = Field(
        default=None,
        description="Identifies what used counts. Left out in a status that an earlier version wrote: then any edit "
        "of the spec starts again from the newest reading.",
    )
    effective_limit: str | None = Field(
        default=None,
        description="CO2e: the limit of this period with its adjustments, which use is compared with. Left out where "
        "there are no adjustments: then use is compared with spec.limit.",
    )
    effective_limit_micrograms: int | None = Field(
        default=None,
        description="The limit that use is compared with, exact, in micrograms of CO2e, with or without adjustments; "
        "left out beyond 9.2 million tonnes.",
    )
    adjustments: list[AdjustmentStatus] | None = Field(
        default=None,
        max_length=MOST_ADJUSTMENTS,
        description="What changed the limit of this period, in the order of booking; those beyond 64 are added up. "
        "Left out where nothing did.",
    )
    children: ChildrenStatus | None = Field(
        default=None,
        description="Budgets that name this one as their parent; only in a ClusterCarbonBudget that has any.",
    )
    remaining: str | None = Field(
        default=None, description="CO2e that is left of the period's limit; 0mg if nothing is."
    )
    percent_used: int | None = Field(
        default=None,
        description="CO2e used in per cent of the limit, rounded down; any use of a limit of 0 is 100.",
    )
    forecast: str | None = Field(
        default=None,
        description="CO2e expected by the period's end: at the mean rate so far and, once there are two weeks of data, "
        "by the hour of the week. Left out with per: Workload, and while too little is known.",
    )
    exhausted_at: dt.datetime | None = Field(
        default=None,
        description="When the forecast reaches the limit, or when the limit was used up. Left out if that is not in "
        "this period.",
    )
    breakdown: Breakdown | None = Field(
        default=None, description="CO2e used by component, rounded down. Left out with per: Workload."
    )
    state: Literal["WithinBudget", "Warning", "Exceeded", "Unknown"] | None = Field(
        default=None,
        description="WithinBudget: no threshold is reached, and the forecast is not over the limit. Warning: one of "
        "them is. Exceeded: the limit is used up. Unknown: there is no data, or the spec cannot be evaluated.",
    )
    action: str | None = Field(
        default=None,
        description="The strongest action of the thresholds reached: Warn, Block or Suspend; an empty text where none "
        "is reached. What of it is in force is in enforcement.",
        json_schema_extra={"enum": ["", "Warn", "Block", "Suspend"]},
    )
    kinds_not_enforced: list[str] | None = Field(
        default=None,
        max_length=16,
        description="Kinds of spec.enforce.kinds that this cluster does not enforce. Left out: none.",
    )
    enforcement: EnforcementStatus | None = Field(
        default=None,
        description="What is in force now. Left out while nothing is: no threshold with Block or Suspend is reached "
        "(with per: Workload: none with Suspend), or the chart's value enforcement.mode is not Enforce.",
    )
    message: str | None = Field(
        default=None, description="Use, limit, forecast and what is in force, in a sentence, as a refusal shows it."
    )
    observed_at: dt.datetime | None = Field(
        default=None,
        description="When the status was written. A budget is evaluated each minute. Its status is written when a "
        "person would see a difference, and within ten minutes while any figure changes.",
    )
    data_through: dt.datetime | None = Field(
        default=None,
        description="Instant up to which every node had reported; a node silent for five minutes shows in coverage "
        "instead.",
    )
    coverage: int | None = Field(
        default=None, description="Per cent of the nodes' time in the period, up to dataThrough, that was reported."
    )
    measured: int | None = Field(
        default=None,
        description="Per cent of the energy counted that a meter measured; the rest is modelled, an estimate.",
    )
    pro_rata: list[dt.datetime] | None = Field(
        default=None,
        max_length=2,
        description="The period's start or end where it lies inside an hour that is not split there: of that hour a "
        "part is counted pro rata in time. Left out where every instant is exact.",
    )
    top_workloads: list[TopWorkload] | None = Field(
        default=None,
        max_length=MOST_WORKLOADS,
        description="The workloads that used most in the period, most first: five; ten with per: Workload, and beyond "
        "them all that reached its lowest threshold or the limit, 100 at most. By these Jobs are suspended.",
    )
    history: list[FormerPeriod] | None = Field(
        default=None, max_length=12, description="The last 12 periods that are over, newest first."
    )
    namespaces: list[str] | None = Field(
        default=None,
        max_length=1000,
        description="Namespaces that count in this period, also those deleted since; only in a ClusterCarbonBudget "
        "with a namespaceSelector.",
        json_schema_extra=SET,
    )
    former_namespaces: list[str] | None = Field(
        default=None,
        max_length=1000,
        description="Namespaces that counted in the former period and do not in this one, until the figures of the "
        "former period are final. Left out: none.",
        json_schema_extra=SET,
    )
    new_namespaces: list[str] | None = Field(
        default=None,
        max_length=1000,
        description="Namespaces that count in this period and did not in the former one, until the figures of the "
        "former period are final: it is not asked for them. Left out: none.",
        json_schema_extra=SET,
    )
    settled: SettledStatus | None = Field(
        default=None, description="Use in the hours that are over. It shows whether a factor was revised."
    )
    conditions: list[StatusCondition] | None = Field(
        default=None,
        max_length=MOST_CONDITIONS,
        description="What can be relied on. Ready: the budget is evaluated. DataComplete: no data are missing. "
        "FiguresExact: the figures are of exactly what the spec counts. WithinBudget: the limit is not used up. "
        "EnforcementEffective: all kinds of spec.enforce.kinds are enforced, and no namespace label is ignored. "
        "EnforcementConflict: somebody resumes what was suspended, or another controller decides when it runs (here "
        "False is good). ExpectedWithinLimit, with per: Workload: no run is expected to exceed the limit, by its own "
        "progress. Overallocated, in the parent of budgets: their limits are together larger than its own (here False "
        "is good). CreditsAvailable, with spec.credits: each target can earn credits.",
        json_schema_extra=CONDITIONS,
    )
