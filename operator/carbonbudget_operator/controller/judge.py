"""From a CarbonBudget object and the server's answer to the status it should have. No I/O, no clock."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.api.query import BudgetAnswer, BudgetQuery
from carbonbudget_operator.budgets.evaluate import (
    DEFAULT_THRESHOLDS,
    Action,
    Budget,
    State,
    Threshold,
    Verdict,
    evaluate,
)
from carbonbudget_operator.budgets.message import describe
from carbonbudget_operator.budgets.period import Calendar, Period, PeriodError, period_at, time_zone
from carbonbudget_operator.budgets.quantity import QuantityError, format_mass, parse_mass

Status = dict[str, object]
# What a person does not see, or what always changes: no reason to write a status by itself.
_SILENT = frozenset({"usedMicrograms", "observedAt", "dataThrough", "conditions", "coverage"})


@dataclass(frozen=True, slots=True)
class Case:
    """One budget, ready to be judged: what to ask the server, and what to judge by."""

    resource: CarbonBudget
    budget: Budget
    zone: ZoneInfo
    query: BudgetQuery


class BadBudget(ValueError):
    """A budget that got past the API server's rules and still cannot be judged; one line says why."""


def prepare(body: Mapping[str, object], now: int) -> Case:
    """Parse an object for its period at `now` (UTC seconds). Raises BadBudget."""
    try:
        resource = CarbonBudget.model_validate(body)
        spec = resource.spec
        zone = time_zone(spec.time_zone)
        if spec.start is not None and spec.end is not None:
            period = Period(int(spec.start.timestamp()), int(spec.end.timestamp()))
        elif spec.period is not None:
            period = period_at(Calendar(spec.period), zone, now)
        else:
            raise BadBudget("spec has neither period nor start and end")
        if period.start >= period.end:
            raise BadBudget("spec.end must be after spec.start")
        thresholds: tuple[Threshold, ...] = DEFAULT_THRESHOLDS
        if spec.thresholds is not None:
            thresholds = tuple(Threshold(t.at, Action[t.action.upper()]) for t in spec.thresholds)
        meta = resource.metadata
        return Case(
            resource=resource,
            budget=Budget(parse_mass(spec.limit), period, thresholds, meta.generation),
            zone=zone,
            query=BudgetQuery(
                id=f"{meta.namespace}/{meta.name}",
                namespaces=[meta.namespace],
                selector=spec.selector,
                start=period.start,
                end=period.end,
                accounting=spec.accounting,
                include=spec.include,
            ),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise BadBudget(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (PeriodError, QuantityError) as error:
        raise BadBudget(str(error)) from None


def former_verdict(resource: CarbonBudget) -> Verdict | None:
    """The verdict that the object's status carries; None before the first."""
    status = resource.status
    if status.period is None or status.state is None or status.used_micrograms is None:
        return None
    action = next((a for a in Action if a.word == (status.action or "")), Action.NONE)
    return Verdict(
        period=Period(int(status.period.start.timestamp()), int(status.period.end.timestamp())),
        generation=status.observed_generation or 0,
        used_ug=status.used_micrograms,
        state=State(status.state),
        action=action,
        block_until=int(status.enforcement.until.timestamp()) if status.enforcement else 0,
    )


def judge(
    case: Case, answer: BudgetAnswer, data_through: int, former: Verdict | None, now: int, fresh_for_s: int
) -> tuple[Verdict, Status]:
    """The verdict at `now`, and the status that shows it."""
    verdict = evaluate(case.budget, answer.used_ug, now, fresh_for_s, former)
    limit_ug = case.budget.limit_ug
    percent = verdict.percent(limit_ug)
    message = describe(case.resource.metadata.name, limit_ug, verdict, case.zone, case.resource.spec.contact)
    complete = answer.coverage_percent >= 99
    status: Status = {
        "observedGeneration": verdict.generation,
        "period": {"start": _time(verdict.period.start), "end": _time(verdict.period.end)},
        "used": format_mass(verdict.used_ug),
        "usedMicrograms": verdict.used_ug,
        "remaining": format_mass(max(0, limit_ug - verdict.used_ug)),
        "percentUsed": percent,
        "state": verdict.state.value,
        "action": verdict.action.word,
        "enforcement": {"action": "Block", "until": _time(verdict.block_until)} if verdict.block_until else None,
        "message": message,
        "observedAt": _time(now),
        "dataThrough": _time(data_through),
        "coverage": answer.coverage_percent,
        "measured": answer.measured_percent,
    }
    within = verdict.state is not State.EXCEEDED
    status["conditions"] = _conditions(
        case.resource,
        now,
        ("Ready", True, "Evaluated", "the budget is judged each window"),
        (
            "DataComplete",
            complete,
            "Complete" if complete else "Gaps",
            f"{answer.coverage_percent} % of the nodes' time was reported",
        ),
        ("WithinBudget", within, verdict.state.value, message),
    )
    return verdict, status


def no_data(case: Case, reason: str, sentence: str, now: int) -> Status:
    """The status when there is nothing to judge by: the last verdict stands, and a condition says so."""
    status: Status = {}
    if former_verdict(case.resource) is None:
        status = {"state": State.UNKNOWN.value, "message": sentence, "observedAt": _time(now)}
    status["conditions"] = _conditions(case.resource, now, ("DataComplete", False, reason, sentence))
    return status


def bad_budget(body: Mapping[str, object], sentence: str, now: int) -> Status:
    """The status of a budget that cannot be judged: not ready, and blocking nothing."""
    metadata = body.get("metadata")
    generation = metadata.get("generation") if isinstance(metadata, Mapping) else None
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "BadSpec",
        "message": sentence,
        "lastTransitionTime": _time(now),
        "observedGeneration": generation,
    }
    return {
        "state": State.UNKNOWN.value,
        "message": sentence,
        "enforcement": None,
        "observedGeneration": generation,
        "conditions": [condition],
    }


def differs(body: Mapping[str, object], status: Status) -> bool:
    """Whether a person would see the difference between the object's status and this one."""
    found = body.get("status")
    former = found if isinstance(found, Mapping) else {}
    if _essence(former.get("conditions")) != _essence(status.get("conditions")):
        return True
    return any(former.get(key) != value for key, value in status.items() if key not in _SILENT)


def _essence(conditions: object) -> set[tuple[object, ...]]:
    """Conditions without their texts, which change with every figure in them."""
    items = conditions if isinstance(conditions, list) else []
    return {(item.get("type"), item.get("status"), item.get("reason")) for item in items}


def _conditions(resource: CarbonBudget, now: int, *wanted: tuple[str, bool, str, str]) -> list[dict[str, object]]:
    """The wanted conditions, and the former ones of other types; a time changes only with its status."""
    former = {condition.type: condition for condition in resource.status.conditions or ()}
    made: list[dict[str, object]] = []
    for kind, holds, reason, message in wanted:
        status = "True" if holds else "False"
        before = former.pop(kind, None)
        since = before.last_transition_time if before is not None and before.status == status else None
        made.append(
            {
                "type": kind,
                "status": status,
                "reason": reason,
                "message": message,
                "lastTransitionTime": _time(int(since.timestamp()) if since else now),
                "observedGeneration": resource.metadata.generation,
            }
        )
    kept = [c.model_dump(mode="json", by_alias=True, exclude_none=True) for c in former.values()]
    return made + kept


def _time(at: int) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
