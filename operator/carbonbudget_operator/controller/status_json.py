"""A budget's status as JSON, its label, and whether a person would see a change. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from zlib import crc32

from carbonbudget_core.jsons import at, objects, text
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, UseComponents, WorkloadUse
from carbonbudget_operator.api.budget_status import MOST_ADJUSTMENTS, TOP_PER_WORKLOAD
from carbonbudget_operator.api.times import format_time, instant
from carbonbudget_operator.api.wire_names import BLOCKING_LABEL
from carbonbudget_operator.budgets.adjustments import shown_changes
from carbonbudget_operator.budgets.budget_sentence import without_instant
from carbonbudget_operator.budgets.quantity import exact_mass, format_beside, format_mass
from carbonbudget_operator.budgets.use_evaluation import EvaluationRecord
from carbonbudget_operator.budgets.verdict import Action, Verdict, percent, verdict_on_run
from carbonbudget_operator.controller.period_history import SETTLING_S
from carbonbudget_operator.controller.prepared_budget import PreparedBudget
from carbonbudget_operator.controller.status_conditions import DesiredCondition, children_fit, visible_part
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

Status = dict[str, object]
# Fields that a person does not see, that always change, or that are details of other fields. They are written with the
# rest, and a change of them alone causes no write.
_SILENT = frozenset(
    {
        "usedMicrograms",
        "message",
        "observedAt",
        "dataThrough",
        "conditions",
        "coverage",
        "settled",
        "breakdown",
        "topWorkloads",
        "counted",  # an earlier version's CRD drops it, which is no difference to write again and again
        # The message says the limit when it changes. Earlier versions' CRDs drop them.
        "effectiveLimit",
        "effectiveLimitMicrograms",
        "adjustments",
        "proRata",  # the condition FiguresExact says it too; a previous version's CRD drops it, which is no difference
    }
)
# A figure that moves is written after so long even if nothing else changed. Spread by the budget's uid, so that a
# thousand budgets are some two writes a second.
_FRESH_S: Final = 600
_MOVING: Final = ("usedMicrograms", "topWorkloads", "effectiveLimitMicrograms", "adjustments")
_MOST_INT64: Final = 2**63 - 1  # of a number in an object


_MOST_PERCENT: Final = 1_000_000  # a pod may say that it has a billion steps


def evaluation_fields(prepared: PreparedBudget, now: EvaluationRecord) -> Status:
    """The fields of the status that hold the record; `evaluation_record_of` reads them back."""
    verdict, settled = now.verdict, now.settled
    return {
        "evaluatedGeneration": verdict.generation,
        "period": {"start": format_time(verdict.period.start), "end": format_time(verdict.period.end)},
        "used": format_beside(verdict.used_ug, prepared.budget_limit.limit_ug),
        "usedMicrograms": verdict.used_ug,
        **_limit_fields(prepared),
        "counted": {"hash": verdict.counted_hash, "generation": verdict.generation} if verdict.counted_hash else None,
        "remaining": format_mass(max(0, prepared.budget_limit.limit_ug - verdict.used_ug)),
        "percentUsed": verdict.percent(prepared.budget_limit.limit_ug),
        "exhaustedAt": format_time(now.exhausted_at) if now.exhausted_at else None,
        "state": verdict.state.value,
        "action": verdict.action.word,
        "enforcement": _enforcement(verdict),
        "settled": {
            "through": format_time(settled.through),
            "micrograms": settled.used_ug,
            "microjoules": settled.energy_uj,
            "ownFiguresThrough": format_time(settled.own.through) if settled.own is not None else None,
            "ownFiguresMicrograms": settled.own.used_ug if settled.own is not None else None,
            "revisedMicrograms": verdict.revised_ug,
        }
        if settled is not None
        else None,
    }


def spec_fields(prepared: PreparedBudget) -> Status:
    """The fields of the status that follow from the spec alone, also while the server does not answer."""
    return {
        "observedGeneration": prepared.budget_object.metadata.generation,
        "kindsNotEnforced": list(prepared.unenforced) or None,
    }


def details(prepared: PreparedBudget, answer: BudgetAnswer, verdict: Verdict, now: int) -> Status:
    """The fields that explain the use: coverage, breakdown, workloads, namespaces. `now`: UTC seconds."""
    return {
        "coverage": answer.coverage_percent,
        "measured": answer.measured_percent,
        "breakdown": None if prepared.budget_limit.per_workload else _breakdown(prepared, answer.parts),
        "proRata": [format_time(at) for at in answer.pro_rata] or None,
        "topWorkloads": [_top(prepared, use, verdict) for use in workloads_in_status(prepared, answer)] or None,
        "namespaces": list(prepared.namespaces or ()) if _names_namespaces(prepared) else None,
        **_former_namespaces(prepared, now),
    }


def is_visible_change(body: Mapping[str, object], status: Status) -> bool:
    """Whether a person would see the difference between the object's status and this one."""
    previous = at(body, "status")
    if visible_part(previous.get("conditions")) != visible_part(status.get("conditions")):
        return True
    if "topWorkloads" in status and _ranks(previous.get("topWorkloads")) != _ranks(status["topWorkloads"]):
        return True
    if "message" in status and without_instant(str(previous.get("message"))) != without_instant(str(status["message"])):
        return True
    if _aged(body, previous, status):
        return True
    return any(previous.get(key) != _whole(value) for key, value in status.items() if key not in _SILENT)


def blocking_label(metadata: Mapping[str, object], blocking: bool) -> dict[str, str | None]:
    """The label by which the policy's binding selects a budget, as it is to be changed; empty where it is right."""
    labelled = at(metadata, "labels").get(BLOCKING_LABEL) == "true"
    return {BLOCKING_LABEL: "true" if blocking else None} if blocking != labelled else {}


def overallocated(prepared: PreparedBudget) -> list[DesiredCondition]:
    """The condition Overallocated of a budget that has children, or had some when its status was written."""
    children, limit_ug = prepared.children, prepared.budget_limit.limit_ug
    if children is not None:
        allocated = format_beside(children.allocated_ug, limit_ug)
        return [children_fit(children.count, allocated, exact_mass(limit_ug), children.allocated_ug <= limit_ug)]
    before = prepared.budget_object.status.conditions or ()
    if any(condition.type == "Overallocated" for condition in before):
        return [children_fit(0, "0mg", exact_mass(limit_ug), True)]
    return []


def _limit_fields(prepared: PreparedBudget) -> Status:
    """The limit in force, what makes it of the spec's, and the children's part of it."""
    limit_ug, children = prepared.budget_limit.limit_ug, prepared.children
    shown = shown_changes(prepared.adjustments, MOST_ADJUSTMENTS)
    return {
        "effectiveLimit": exact_mass(limit_ug) if shown else None,
        "effectiveLimitMicrograms": limit_ug if limit_ug <= _MOST_INT64 else None,
        "adjustments": [
            {
                "reason": each.reason,
                "amount": f"{'-' if each.micrograms < 0 else '+'}{format_mass(abs(each.micrograms))}",
                "micrograms": each.micrograms,
                "source": each.source,
            }
            for each in shown
        ]
        or None,
        "children": {
            "count": children.count,
            "allocated": format_beside(children.allocated_ug, limit_ug),
            "unallocated": format_mass(max(0, limit_ug - children.allocated_ug)),
        }
        if children is not None
        else None,
    }


def _enforcement(verdict: Verdict) -> Status | None:
    if not verdict.acts_until:
        return None
    suspends = verdict.action is Action.SUSPEND
    return {
        "action": "Suspend" if suspends else "Block",
        "until": format_time(verdict.acts_until),
        "suspendFrom": format_time(verdict.suspend_from) if suspends else None,
    }


def _breakdown(prepared: PreparedBudget, parts: UseComponents) -> Status:
    figures = {
        "Dynamic": parts.dynamic_ug, "Idle": parts.idle_ug, "Overhead": parts.overhead_ug, "Embodied": parts.embodied_ug
    }  # fmt: skip
    included = prepared.spec.include
    return {name.lower(): format_mass(used) if name in included else None for name, used in figures.items()}


def _aged(body: Mapping[str, object], previous: Mapping[str, object], status: Status) -> bool:
    """Whether figures moved since the status was written, and that is long ago."""
    before, now = (instant(one.get("observedAt")) for one in (previous, status))
    if before is None or now is None:
        return False
    moved = any(previous.get(key) != _whole(status[key]) for key in _MOVING if key in status)
    uid = text(at(body, "metadata").get("uid"))
    return moved and now - before >= _FRESH_S - crc32(uid.encode()) % (_FRESH_S // 2)


def workloads_in_status(prepared: PreparedBudget, answer: BudgetAnswer) -> list[WorkloadUse]:
    """The workloads that used most, then further runs over a threshold: enforcement finds these only in the status."""
    names_at, limit_ug = prepared.names_runs_from_percent, prepared.budget_limit.limit_ug
    return [
        use
        for rank, use in enumerate(answer.workloads)
        if rank < prepared.top_workloads
        or (names_at is not None and (percent(use.used_ug, limit_ug) >= names_at or is_expected_over(use, limit_ug)))
    ]


def is_expected_over(use: WorkloadUse, limit_ug: int) -> bool:
    """Whether a workload has not used up the limit of each workload, and is expected to exceed it."""
    return use.expected_ug is not None and use.used_ug < limit_ug < use.expected_ug


def _top(prepared: PreparedBudget, use: WorkloadUse, verdict: Verdict) -> Status:
    kind, _, name = use.workload.partition("/")
    top: Status = {"kind": kind, "name": name}
    if not prepared.stored.resource.namespaced:
        top["namespace"] = use.namespace
    limit_ug = prepared.budget_limit.limit_ug
    if not prepared.budget_limit.per_workload:
        return top | {"emissions": format_mass(use.used_ug), "percent": percent(use.used_ug, limit_ug)}
    own = verdict_on_run(prepared.budget_limit, verdict, use.used_ug)
    emissions = format_beside(use.used_ug, limit_ug)
    if use.expected_ug is not None:
        top |= {"expected": format_beside(use.expected_ug, limit_ug)}
        top |= {"expectedPercent": min(_MOST_PERCENT, -(-use.expected_ug * 100 // limit_ug) if limit_ug else 100)}
    return top | {"emissions": emissions, "percent": percent(use.used_ug, limit_ug), "state": own.state.value}


def _names_namespaces(prepared: PreparedBudget) -> bool:
    return not prepared.stored.resource.namespaced and prepared.namespaces != (EVERY_NAMESPACE,)


def _former_namespaces(prepared: PreparedBudget, now: int) -> Status:
    """In which namespaces the former period differs from this one, while its use is asked for.

    Who deletes or relabels a namespace at a period's end takes nothing out of that period, and who labels one then adds
    nothing to it.
    """
    current, recorded = prepared.budget_limit.period, prepared.former_namespaces
    settles = now - current.start < SETTLING_S or prepared.period_to_close is not None or not prepared.is_closing_known
    has_former = recorded.shown != current or bool(prepared.budget_object.status.history)
    former = recorded.in_shown if recorded.shown != current else recorded.before
    if not settles or not has_former or not _names_namespaces(prepared):
        return {"formerNamespaces": None, "newNamespaces": None}
    present, before = frozenset(prepared.namespaces or ()), frozenset(former)
    return {
        "formerNamespaces": [name for name in former if name not in present] or None,
        "newNamespaces": [name for name in prepared.namespaces or () if name not in before] or None,
    }


def _ranks(tops: object) -> list[tuple[object, ...]]:
    """Who is on the list in which state, and the first ten at what per cent; grams change each minute, and so does a
    long list.
    """
    ranked = list(objects(tops))
    names = [
        (item.get("namespace"), item.get("kind"), item.get("name"), item.get("state"), _expected_over(item))
        for item in ranked
    ]
    first = [(*name, item.get("percent")) for name, item in zip(names, ranked[:TOP_PER_WORKLOAD], strict=False)]
    return [*first, *sorted(names[TOP_PER_WORKLOAD:], key=str)]


def _expected_over(top: Mapping[str, object]) -> bool:
    expected_percent = top.get("expectedPercent")
    return isinstance(expected_percent, int) and expected_percent > 100


def _whole(value: object) -> object:
    """As the API server keeps it: it knows absent, not null."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items() if item is not None}
    return value
