"""How budgets stand, for people: rows of a table, and one budget in plain words.

Pure: objects and the time in, texts out.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from carbonbudget_operator.api.carbonbudget import AnyBudget, ClusterCarbonBudget
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.budgets.message import format_instant
from carbonbudget_operator.budgets.quantity import QuantityError, parse_mass

CLUSTER = "(cluster)"  # in place of a namespace: parentheses cannot be part of a name


@dataclass(frozen=True, slots=True)
class Row:
    """One budget of the table; empty texts are what is not known."""

    kind: str
    namespace: str
    name: str
    limit: str
    used: str = ""
    percent: int | None = None
    forecast: str = ""
    exhausted: str = ""
    state: str = ""
    action: str = ""
    resets: str = ""


@dataclass(frozen=True, slots=True)
class Worker:
    """A workload's use under one budget."""

    namespace: str
    kind: str
    name: str
    emissions: str
    percent: int | None
    budget: str
    budget_kind: str


def row(budget: AnyBudget) -> Row:
    """A budget's line. Instants are in the budget's own time zone, as its message has them."""
    status = budget.status
    per = " each" if budget.spec.per == "Workload" else ""
    return Row(
        kind=kind_of(budget),
        namespace=budget.metadata.namespace,
        name=budget.metadata.name,
        limit=budget.spec.limit + per,
        used=status.used or "",
        percent=status.percent_used,
        forecast=status.forecast or "",
        exhausted=_at(budget, status.exhausted_at),
        state=status.state or "",
        action=status.action or "",
        resets=_at(budget, status.period.end if status.period else None),
    )


def rows(budgets: Iterable[AnyBudget]) -> list[Row]:
    """By namespace and name, the cluster's last."""
    return sorted(map(row, budgets), key=lambda r: (not r.namespace, r.namespace, r.name))


def workers(budgets: Iterable[AnyBudget]) -> list[Worker]:
    """The workloads of all budgets, most first.

    One that counts in two budgets has two lines, for their periods differ.
    """
    found = [
        Worker(
            top.namespace or budget.metadata.namespace,
            top.kind,
            top.name,
            top.emissions,
            top.percent,
            budget.metadata.name,
            kind_of(budget),
        )
        for budget in budgets
        for top in budget.status.top_workloads or ()
    ]
    return sorted(found, key=lambda w: (-_micrograms(w.emissions), w.namespace, w.kind, w.name, w.budget))


def kind_of(budget: AnyBudget) -> str:
    """Its kind."""
    return type(budget).__name__


def explain(budget: AnyBudget, now: dt.datetime, may_change: bool | None) -> list[tuple[str, list[str]]]:
    """Headings with their sentences. `may_change`: whether the reader may; None if that is not known."""
    sections = [
        ("Counts", _counts(budget)),
        ("Used", _used(budget)),
        ("Measured", _measured(budget)),
        ("Forecast", _forecast(budget)),
        ("Thresholds", _thresholds(budget)),
        ("Refused now", _refused(budget, now)),
        ("Troubles", _troubles(budget)),
        ("Who decides", _decides(budget, may_change)),
        ("Next", _next(budget, now)),
    ]
    return [(heading, sentences) for heading, sentences in sections if sentences]


def _counts(budget: AnyBudget) -> list[str]:
    spec, period = budget.spec, budget.status.period
    if isinstance(budget, ClusterCarbonBudget):
        chosen = budget.spec.namespace_selector
        spaces = f"namespaces with {_labels(chosen.model_dump(by_alias=True))}" if chosen else "all namespaces"
    else:
        spaces = f"namespace {budget.metadata.namespace}"
    pods = f"pods with {_labels(spec.selector.model_dump(by_alias=True))}" if spec.selector else "all pods"
    span = (
        f"from {_at(budget, period.start)} until {_at(budget, period.end)} ({spec.time_zone})"
        if period
        else f"in each {spec.period.lower()} ({spec.time_zone})"
        if spec.period
        else "in its span"
    )
    left_out = [part for part in ("Dynamic", "Idle", "Overhead", "Embodied") if part not in spec.include]
    without = f", without {_and([part.lower() for part in left_out])}" if left_out else ""
    limit = f"{spec.limit} of CO2e for each workload by itself" if spec.per == "Workload" else f"{spec.limit} of CO2e"
    by = "the grid it is drawn from" if spec.accounting == "LocationBased" else "the contracts it is bought under"
    return [
        f"The emissions of {pods} in {spaces}, {span}. Allowed are {limit}.",
        f"Energy is valued by {by}; what counts is {_and([part.lower() for part in spec.include])}{without}.",
    ]


def _used(budget: AnyBudget) -> list[str]:
    status = budget.status
    if status.used is None:
        return ["Not judged yet: the controller writes the first figures within a window or two."]
    percent = f" ({status.percent_used} %)" if status.percent_used is not None else ""
    subject = "By the workload that used most: " if budget.spec.per == "Workload" else ""
    sentences = [f"{subject}{status.used} of {budget.spec.limit}{percent}; {status.remaining or '?'} are left."]
    if status.breakdown:
        parts = {
            "that followed the pods' use": status.breakdown.dynamic,
            "for what they hold idle": status.breakdown.idle,
            "for their part of the system": status.breakdown.overhead,
            "for making the hardware": status.breakdown.embodied,
        }
        known = [f"{mass} {what}" for what, mass in parts.items() if mass and _micrograms(mass)]
        sentences += [f"Of it {_and(known)}."] if known else []
    if status.top_workloads:
        tops = [f"{top.kind} {top.name} {top.emissions}" for top in status.top_workloads[:3]]
        sentences.append(f"Most of it by {_and(tops)}.")
    if status.settled and status.settled.revised_micrograms > 0:
        sentences.append("Revised factors made former hours look worse; that is shown, and never a reason to act.")
    return sentences


def _measured(budget: AnyBudget) -> list[str]:
    status, sentences = budget.status, []
    if status.data_through:
        sentences.append(f"Every node has reported up to {_at(budget, status.data_through)}.")
    if status.coverage is not None:
        rest = "" if status.coverage >= 100 else "; what the rest used is missing from the figures"
        sentences.append(f"{status.coverage} % of the nodes' time was reported{rest}.")
    if status.measured is not None:
        rest = "" if status.measured >= 100 else "; the rest is modelled, an estimate"
        sentences.append(f"{status.measured} % of the energy was measured by a meter{rest}.")
    return sentences


def _forecast(budget: AnyBudget) -> list[str]:
    status = budget.status
    if status.used is None:
        return []
    if budget.spec.per == "Workload":
        return ["None: each workload has a limit of its own."]
    if status.forecast is None:
        return ["None yet: too little is known of this period."]
    end = _at(budget, status.period.end) if status.period else "the period's end"
    reached = (
        f"the limit is reached on {_at(budget, status.exhausted_at)}"
        if status.exhausted_at
        else "the limit is used up already"
        if status.state == "Exceeded"
        else "the limit is not reached"
    )
    return [
        f"{status.forecast} by {end}: {reached}.",
        "It goes by the mean rate so far and, once there are two weeks of data, by the hours of the week.",
    ]


def _thresholds(budget: AnyBudget) -> list[str]:
    percent, sentences = budget.status.percent_used, []
    does = {
        "Warn": "warns whoever creates work",
        "Block": "refuses new work",
        "Suspend": "also suspends running Jobs that are labelled carbonbudget.dev/suspendable",
    }
    given = [(one.at, one.action, one.basis) for one in budget.spec.thresholds or ()]
    for at, action, basis in given or [(80, "Warn", "Used"), (100, "Warn", "Used")]:
        if basis == "Projected":
            reached = "by what was used and what the new work is expected to emit"
        else:
            reached = "reached" if percent is not None and percent >= at else "not reached"
        sentences.append(f"At {at} % it {does[action]} ({reached}).")
    return sentences


def _refused(budget: AnyBudget, now: dt.datetime) -> list[str]:
    held, kinds = budget.status.enforcement, _kinds(budget)
    if held is None:
        return ["Nothing."]
    if _utc(held.until) <= now:
        return [f"Nothing: the block ended {_at(budget, held.until)} and was not renewed."]
    sentences = [f"New {_and(kinds, 'or')} until {_at(budget, held.until)}, renewed while the budget is exceeded."]
    if budget.spec.per == "Workload":
        sentences = ["Nothing: a run's own budget stands in no other's way."]
    if held.suspend_from is not None:
        verb = "are" if _utc(held.suspend_from) <= now else "will be"
        sentences.append(f"Running Jobs that opted in {verb} suspended from {_at(budget, held.suspend_from)} on.")
    return sentences


def _troubles(budget: AnyBudget) -> list[str]:
    bad = {"Ready": "False", "DataComplete": "False", "EnforcementConflict": "True"}
    return [
        f"{one.type} is {one.status} ({one.reason}): {one.message}"
        for one in budget.status.conditions or ()
        if bad.get(one.type) == one.status
    ]


def _decides(budget: AnyBudget, may_change: bool | None) -> list[str]:
    sentences = {
        None: [],
        True: ["You may change it."],
        False: ["You may not change it: that takes the role carbonbudget-editor."],
    }[may_change]
    if budget.spec.contact:
        sentences = [*sentences, f"Ask {budget.spec.contact}."]
    return sentences


def _next(budget: AnyBudget, now: dt.datetime) -> list[str]:
    status, space = budget.status, budget.metadata.namespace
    where = f" -n {space}" if space else ""
    if status.used is None:
        return ["Look again in two minutes; then at the conditions and at the controller's log."]
    sentences = []
    if budget.spec.per != "Workload" and status.enforcement is not None and _utc(status.enforcement.until) > now:
        sentences.append(
            f"Wait until {_at(budget, status.period.end if status.period else None) or 'the reset'}, have the limit "
            "raised, or let somebody with the verb exempt label urgent work carbonbudget.dev/exempt=true."
        )
    if status.state == "Unknown":
        sentences.append("There are no data now: see whether agents and server run, and the conditions.")
    if status.state in ("Warning", "Exceeded"):
        sentences.append(f"See who used most: kubectl carbon top{where or ' -A'}.")
    if status.state in ("WithinBudget", "Warning"):
        sentences.append(f"Ask before creating: carbonbudget check{where} -f job.yaml.")
    return sentences


def _kinds(budget: AnyBudget) -> Sequence[str]:
    return budget.spec.enforce.kinds if budget.spec.enforce else ("Job", "Pod")


def _labels(selector: Mapping[str, object]) -> str:
    """ "app=web, tier in (a, b), !canary", as kubectl writes selectors."""
    exact, expressions = selector["matchLabels"], selector["matchExpressions"]
    assert isinstance(exact, dict)
    assert isinstance(expressions, list)
    parts = [f"{key}={value}" for key, value in exact.items()]
    for one in expressions:
        values = f"({', '.join(one['values'])})"
        parts.append(
            {
                "In": f"{one['key']} in {values}",
                "NotIn": f"{one['key']} notin {values}",
                "Exists": one["key"],
                "DoesNotExist": f"!{one['key']}",
            }[one["operator"]]
        )
    return "labels " + ", ".join(parts) if parts else "any labels"


def _and(parts: Sequence[str], word: str = "and") -> str:
    return f"{', '.join(parts[:-1])} {word} {parts[-1]}" if len(parts) > 1 else "".join(parts)


def _at(budget: AnyBudget, instant: dt.datetime | None) -> str:
    if instant is None:
        return ""
    try:
        zone = ZoneInfo(budget.spec.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zone = ZoneInfo("UTC")  # its condition Ready says what is wrong with it
    try:
        return format_instant(seconds(instant), zone)
    except (OverflowError, ValueError, OSError):  # beyond the years of calendars: as it is written
        return instant.isoformat()


def _utc(instant: dt.datetime) -> dt.datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=dt.UTC)


def _micrograms(mass: str) -> int:
    try:
        return parse_mass(mass)
    except QuantityError:
        return 0
