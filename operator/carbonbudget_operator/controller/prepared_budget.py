"""A prepared budget: an object parsed for its present period, with limit, namespaces and previous record.

No I/O, no clock.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from carbonbudget_operator.api.budget_spec import CarbonBudgetSpec, ClusterCarbonBudgetSpec
from carbonbudget_operator.api.budget_status import TOP, TOP_PER_WORKLOAD, SettledStatus
from carbonbudget_operator.api.carbonbudget import AnyBudget, ClusterCarbonBudget
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.api.wire_names import ENFORCED_KINDS
from carbonbudget_operator.budgets.adjustments import LimitChange, effective_limit_ug
from carbonbudget_operator.budgets.budget_sentence import Subject
from carbonbudget_operator.budgets.counted_hash import counted_hash
from carbonbudget_operator.budgets.coverage import Scope, still_counting
from carbonbudget_operator.budgets.limit_in_force import base_limit_ug
from carbonbudget_operator.budgets.period import Calendar, Period, PeriodError, period_at, time_zone
from carbonbudget_operator.budgets.quantity import QuantityError
from carbonbudget_operator.budgets.settled_use import OwnFigures, SettledUse
from carbonbudget_operator.budgets.use_evaluation import EvaluationRecord
from carbonbudget_operator.budgets.verdict import DEFAULT_THRESHOLDS, Action, BudgetLimit, State, Threshold, Verdict
from carbonbudget_operator.budgets.workload_demand import duration_s
from carbonbudget_operator.controller.budget_store import StoredBudget
from carbonbudget_operator.controller.status_conditions import MOST_NAMESPACES, DesiredCondition
from carbonbudget_operator.namespace_labels import Namespaces

# The same bounds as the CRD's rule: calendar arithmetic fails outside them.
_FIRST: Final = seconds(dt.datetime(1971, 1, 1, tzinfo=dt.UTC))
_LAST: Final = seconds(dt.datetime(9000, 1, 1, tzinfo=dt.UTC)) - 1


class InvalidBudget(ValueError):
    """A budget that the API server accepted and that cannot be evaluated; one line says why."""


@dataclass(frozen=True, slots=True)
class ChildBudgets:
    """The budgets that name one as their parent: how many, and the sum of their limits in force."""

    count: int
    allocated_ug: int


@dataclass(frozen=True, slots=True)
class FormerNamespaces:
    """The namespaces that counted in periods that are over, as the status recorded them while they ran.

    A namespace that is selected only later adds nothing to them: it would be charged to a period that did not count it.
    `shown`: the period of the status. `in_shown`: those that counted in it. `before`: those of the period before it.
    Where nothing is recorded both are those that count now.
    """

    shown: Period | None
    in_shown: tuple[str, ...]
    before: tuple[str, ...]

    def of(self, period: Period) -> tuple[str, ...]:
        """The namespaces of a period that is over. If no evaluation saw it, those of the last period that was seen."""
        return self.before if self.shown is not None and period.start < self.shown.start else self.in_shown


@dataclass(frozen=True, slots=True)
class PreparedBudget:
    """One budget, ready for an evaluation.

    `budget_object`: the typed object. `budget_limit`: what an evaluation compares the use with; its limit is the one
    in force. `base_limit_ug`: the spec's limit. `adjustments`: what makes the one of the other, as booked.
    `children`: None for a budget that no other names as its parent.
    `credit_condition`: whether its targets can earn credits; None without any, or while targets are not known.
    `period_to_close`: a former period whose use is to be asked for, because nothing of it is booked yet.
    `is_closing_known`: whether the server has answered what is booked, so that None there means nothing is to close.
    `namespaces`: the namespaces that count; EVERY_NAMESPACE alone for all; empty if none is selected; None while they
    are not known. `former_namespaces`: those that counted in periods that are over.
    `previous`: the record of the last evaluation; None before the first.
    `namespaces_left_out`: whether there are more namespaces than one question can name.
    `unenforced`: kinds of `enforce.kinds` that this cluster does not enforce.
    `ignored_labels`: its namespaces whose label of enforcement has no effect, with the label's value.
    """

    stored: StoredBudget
    budget_object: AnyBudget
    budget_limit: BudgetLimit
    calendar: Calendar | None
    zone: ZoneInfo
    namespaces: tuple[str, ...] | None
    former_namespaces: FormerNamespaces
    previous: EvaluationRecord | None
    namespaces_left_out: bool = False
    unenforced: tuple[str, ...] = ()
    ignored_labels: Mapping[str, str] = field(default_factory=dict)
    base_limit_ug: int = 0
    adjustments: Sequence[LimitChange] = ()
    children: ChildBudgets | None = None
    period_to_close: Period | None = None
    is_closing_known: bool = True
    credit_condition: DesiredCondition | None = None

    @property
    def key(self) -> str:
        """namespace/name, or /name."""
        return self.stored.key

    @property
    def spec(self) -> CarbonBudgetSpec:
        """The object's spec."""
        return self.budget_object.spec

    @property
    def top_workloads(self) -> int:
        """How many of the workloads that used most its status always names."""
        return TOP_PER_WORKLOAD if self.budget_limit.per_workload else TOP

    @property
    def names_runs_from_percent(self) -> int | None:
        """The per cent of its limit from which the status always names a run; None if the budget is not per workload.

        It is the lowest threshold: a run that reaches it gets an Event, and can be suspended.
        """
        if not self.budget_limit.per_workload:
            return None
        return min([100, *(t.at for t in self.budget_limit.thresholds)])

    def subject(self, workload: str) -> Subject:
        """The names and words for its message."""
        return Subject(
            name=self.stored.name,
            zone=self.zone,
            contact=self.spec.contact,
            cluster=not self.stored.resource.namespaced,
            recurs=self.calendar is not None,
            workload=workload if self.budget_limit.per_workload else "",
            market=self.spec.accounting == "MarketBased",
        )


def prepare_budget(
    stored: StoredBudget,
    now: int,
    namespaces: Namespaces,
    remembered: EvaluationRecord | None = None,
    kinds: Collection[str] = ENFORCED_KINDS,
) -> PreparedBudget:
    """Parse an object for its period at `now` (UTC seconds). Raises InvalidBudget.

    `remembered` is the record of the last evaluation, which the object's status may not show yet. `kinds` are the
    kinds that the cluster enforces.
    """
    if stored.missing_spec_reason:
        raise InvalidBudget(stored.missing_spec_reason)
    try:
        resource = stored.budget_object
        spec = resource.spec
        zone = time_zone(spec.time_zone)
        calendar = Calendar(spec.period) if spec.period is not None else None
        budget = BudgetLimit(
            limit_ug=base_limit_ug(resource),
            period=_period(spec, calendar, zone, now),
            thresholds=_thresholds(spec),
            generation=resource.metadata.generation,
            counted_hash=_counted_hash(resource),
            per_workload=spec.per == "Workload",
            unknown_without_data=spec.on_missing_data == "Unknown",
            **({"grace_s": _grace_s(spec.enforce.grace)} if spec.enforce is not None else {}),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidBudget(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (PeriodError, QuantityError) as error:
        raise InvalidBudget(str(error)) from None
    counted = _namespaces(resource, budget, namespaces)
    namespaces_left_out = counted is not None and len(counted) > MOST_NAMESPACES
    counted = counted[:MOST_NAMESPACES] if counted is not None else None
    previous = remembered or evaluation_record_of(resource)
    unenforced = tuple(kind for kind in (spec.enforce.kinds if spec.enforce is not None else ()) if kind not in kinds)
    prepared = PreparedBudget(
        stored,
        resource,
        budget,
        calendar,
        zone,
        counted,
        _former_namespaces(resource, counted),
        previous,
        namespaces_left_out,
        unenforced,
        namespaces.ignored_labels(counted or ()),
        budget.limit_ug,
    )
    return with_adjustments(prepared, _shown_adjustments(resource, budget.period))


def with_adjustments(prepared: PreparedBudget, adjustments: Sequence[LimitChange]) -> PreparedBudget:
    """The budget with these adjustments of its period instead of those that its status shows."""
    if prepared.budget_limit.per_workload:  # the limit is each workload's own
        adjustments = ()
    limit_ug = effective_limit_ug(prepared.base_limit_ug, adjustments)
    return replace(prepared, adjustments=adjustments, budget_limit=replace(prepared.budget_limit, limit_ug=limit_ug))


def _shown_adjustments(resource: AnyBudget, period: Period) -> Sequence[LimitChange]:
    """The adjustments that the status shows for this period. They hold until the server has answered what is booked."""
    shown = resource.status.period
    if shown is None or Period(seconds(shown.start), seconds(shown.end)) != period:
        return ()
    return resource.status.adjustments or ()


def evaluation_record_of(resource: AnyBudget) -> EvaluationRecord | None:
    """The record in the object's status; None before the first evaluation."""
    status = resource.status
    if status.period is None or status.state is None or status.used_micrograms is None:
        return None
    enforcement, settled = status.enforcement, status.settled
    suspend_from = enforcement.suspend_from if enforcement is not None else None
    verdict = Verdict(
        period=Period(seconds(status.period.start), seconds(status.period.end)),
        generation=status.evaluated_generation or 0,
        used_ug=status.used_micrograms,
        state=State(status.state),
        action=next((a for a in Action if a.word == (status.action or "")), Action.NONE),
        acts_until=seconds(enforcement.until) if enforcement is not None else 0,
        suspend_from=seconds(suspend_from) if suspend_from is not None else 0,
        revised_ug=settled.revised_micrograms if settled is not None else 0,
        counted_hash=_status_hash(resource),
    )
    return EvaluationRecord(
        verdict,
        _settled_use(settled) if settled is not None else None,
        seconds(status.exhausted_at) if status.exhausted_at is not None else 0,
    )


def _settled_use(settled: SettledStatus) -> SettledUse:
    own = None
    if settled.own_figures_through is not None:
        own = OwnFigures(seconds(settled.own_figures_through), settled.own_figures_micrograms or 0)
    return SettledUse(seconds(settled.through), settled.micrograms, settled.microjoules, own)


def _counted_hash(resource: AnyBudget) -> str:
    spec = resource.spec
    return counted_hash(
        resource.metadata.namespace,
        spec.selector,
        spec.namespace_selector if isinstance(spec, ClusterCarbonBudgetSpec) else None,
        per_workload=spec.per == "Workload",
        accounting=spec.accounting,
        include=spec.include,
    )


def _status_hash(resource: AnyBudget) -> str:
    """The counted hash of the status; empty where it has none, or where an older controller wrote the figures since.

    An older controller leaves the field as it is and writes `evaluatedGeneration`: the two then differ.
    """
    counted = resource.status.counted
    return counted.hash if counted is not None and counted.generation == resource.status.evaluated_generation else ""


def _period(spec: CarbonBudgetSpec, calendar: Calendar | None, zone: ZoneInfo, now: int) -> Period:
    if spec.start is not None and spec.end is not None:
        period = Period(seconds(spec.start), seconds(spec.end))
        if not (_FIRST <= period.start <= _LAST and _FIRST <= period.end <= _LAST):
            raise InvalidBudget("spec.start and spec.end must lie between the years 1971 and 9000")
    elif calendar is not None:
        period = period_at(calendar, zone, now)
    else:
        raise InvalidBudget("spec has neither period nor start and end")
    if period.start >= period.end:
        raise InvalidBudget("spec.end must be after spec.start")
    return period


def _thresholds(spec: CarbonBudgetSpec) -> tuple[Threshold, ...]:
    """The thresholds by use. The webhook compares those by projection, because it has the new work."""
    if spec.thresholds is None:
        return DEFAULT_THRESHOLDS
    return tuple(Threshold(t.at, Action[t.action.upper()]) for t in spec.thresholds if t.basis == "Used")


def _grace_s(grace: str) -> int:
    grace_s = duration_s(grace)
    if grace_s is None:
        raise InvalidBudget(f"spec.enforce.grace {grace!r} must be a number with s, m or h, for example 30m")
    return grace_s


def _former_namespaces(resource: AnyBudget, counted: tuple[str, ...] | None) -> FormerNamespaces:
    status = resource.status
    shown = Period(seconds(status.period.start), seconds(status.period.end)) if status.period is not None else None
    selects = isinstance(resource, ClusterCarbonBudget) and resource.spec.namespace_selector is not None
    if not selects or shown is None or status.namespaces is None:  # one namespace, or all: the same in each period
        return FormerNamespaces(shown, counted or (), counted or ())
    new = set(status.new_namespaces or ())
    before = [name for name in status.namespaces if name not in new]
    return FormerNamespaces(
        shown,
        tuple(status.namespaces),
        tuple(dict.fromkeys((*before, *(status.former_namespaces or ()))))[:MOST_NAMESPACES],
    )


def _namespaces(resource: AnyBudget, budget: BudgetLimit, namespaces: Namespaces) -> tuple[str, ...] | None:
    """The namespaces that count: first those that it covers now, then those that only the status names."""
    chosen = resource.spec.namespace_selector if isinstance(resource, ClusterCarbonBudget) else None
    live = Scope(resource.metadata.namespace, namespace_selector=chosen).names(namespaces.labels())
    if chosen is None or live is None:
        return live
    if len(live) > MOST_NAMESPACES:
        raise InvalidBudget(
            f"spec.namespaceSelector selects {len(live)} namespaces and {MOST_NAMESPACES} are possible: "
            "leave it out to count all, or make several budgets"
        )
    status = resource.status
    if status.period is None or seconds(status.period.start) != budget.period.start:
        return live
    status_hash = _status_hash(resource)
    if status_hash:
        edited = status_hash != budget.counted_hash
    else:
        edited = status.evaluated_generation != resource.metadata.generation
    return still_counting(live, status.namespaces or (), namespaces.labels() or {}, edited)
