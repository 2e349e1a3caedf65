"""The rows of the tables of `kubectl carbon budgets` and `top`, and the same as JSON. Pure: objects in, rows out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from pydantic.alias_generators import to_camel

from carbonbudget_operator.api.budget_query_bodies import Accounting
from carbonbudget_operator.api.budget_status import TOP, TOP_PER_WORKLOAD
from carbonbudget_operator.api.carbonbudget import AnyBudget, budget_kind
from carbonbudget_operator.budgets.limit_in_force import limit_in_force_text
from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.cli.formatted_values import at, instant_of, micrograms

CLUSTER = "(cluster)"  # in place of a namespace: parentheses cannot be part of a name


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget of the table. None: not known, or none."""

    kind: str
    namespace: str
    name: str
    limit: str
    """CO2e: the limit in force."""
    per: str
    used: str | None
    percent: int | None
    forecast: str | None
    exhausted: dt.datetime | None
    state: str | None
    action: str | None
    resets: dt.datetime | None
    """The end of the period, or of the single span."""
    accounting: str
    time_zone: str
    """The budget's own, in which a table shows instants."""
    as_of: dt.datetime | None
    """Up to when there were data."""
    pro_rata: Sequence[dt.datetime]


@dataclass(frozen=True, slots=True)
class WorkloadRow:
    """A workload's use under one budget."""

    namespace: str
    kind: str
    name: str
    emissions: str
    percent: int | None
    budget: str
    budget_kind: str
    accounting: str
    time_zone: str
    """The budget's own, in which a table shows instants."""
    since: dt.datetime | None
    """The start of the budget's period, and `as_of` up to when there were data."""
    as_of: dt.datetime | None
    state: str | None
    """By its own use, in a budget per workload."""
    pro_rata: Sequence[dt.datetime]


def as_item(row: BudgetRow | WorkloadRow) -> dict[str, object]:
    """A row as a program reads it: names in camelCase as in the CRD, instants in UTC, null for what is not known."""
    return {to_camel(name): _plain(value) for name, value in asdict(row).items()}


def _plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return instant_of(value)
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def budget_row(budget: AnyBudget) -> BudgetRow:
    """A budget's line."""
    status = budget.status
    return BudgetRow(
        kind=budget_kind(budget),
        namespace=budget.metadata.namespace,
        name=budget.metadata.name,
        limit=limit_in_force_text(budget),
        per=budget.spec.per,
        used=status.used,
        percent=status.percent_used,
        forecast=status.forecast,
        exhausted=status.exhausted_at,
        state=status.state,
        action=status.action or None,
        resets=status.period.end if status.period else None,
        accounting=budget.spec.accounting,
        time_zone=budget.spec.time_zone,
        as_of=status.data_through,
        pro_rata=tuple(status.pro_rata or ()),
    )


def budget_rows(budgets: Iterable[AnyBudget]) -> list[BudgetRow]:
    """By namespace and name, the cluster's last."""
    return sorted(map(budget_row, budgets), key=lambda r: (not r.namespace, r.namespace, r.name))


def workload_rows(
    budgets: Iterable[AnyBudget], namespace: str = "", accounting: Accounting | None = None
) -> list[WorkloadRow]:
    """The workloads that the budgets' statuses name, most first; of one namespace and one accounting, if given.

    One that counts in two budgets has two lines, for their periods differ.
    """
    found = [
        WorkloadRow(
            top.namespace or budget.metadata.namespace,
            top.kind,
            top.name,
            top.emissions,
            top.percent,
            budget.metadata.name,
            budget_kind(budget),
            budget.spec.accounting,
            budget.spec.time_zone,
            budget.status.period.start if budget.status.period else None,
            budget.status.data_through,
            top.state,
            tuple(budget.status.pro_rata or ()),
        )
        for budget in budgets
        if accounting in (None, budget.spec.accounting)
        for top in budget.status.top_workloads or ()
    ]
    found = [one for one in found if namespace in ("", one.namespace)]
    return sorted(found, key=lambda w: (-micrograms(w.emissions), w.namespace, w.kind, w.name, w.budget))


def unlisted_workloads(budgets: Iterable[AnyBudget], accounting: Accounting | None = None) -> list[str]:
    """For each budget how many workloads it names and what the others used: what a table of them leaves out."""
    sentences = []
    for budget in budgets:
        status, name = budget.status, shown_name(budget)
        tops = status.top_workloads or ()
        if not tops or accounting not in (None, budget.spec.accounting):
            continue
        if budget.spec.per == "Workload":
            if len(tops) >= TOP_PER_WORKLOAD:
                sentences.append(
                    f"{name} names {len(tops)} workloads: the {TOP_PER_WORKLOAD} that used most and those over a "
                    "threshold"
                )
            continue
        named_ug = sum(micrograms(top.emissions) for top in tops)
        rest_ug = _newest_ug(budget) - named_ug
        if len(tops) >= TOP:
            rest = f"all others used some {format_mass(rest_ug)}" if rest_ug > 0 else "all others used next to nothing"
            sentences.append(f"{name} names the {len(tops)} workloads that used most; {rest}")
    return sentences


def _newest_ug(budget: AnyBudget) -> int:
    """The total of the newest evaluation. It names the workloads; `used` may be of an earlier evaluation."""
    parts = budget.status.breakdown
    if parts is None:
        return budget.status.used_micrograms or micrograms(budget.status.used or "")
    return sum(micrograms(part) for part in (parts.dynamic, parts.idle, parts.overhead, parts.embodied) if part)


def shown_name(budget: AnyBudget) -> str:
    """namespace/name, or the cluster's name with a mark."""
    space = budget.metadata.namespace
    return f"{space}/{budget.metadata.name}" if space else f"{budget.metadata.name} {CLUSTER}"


def pro_rata(budget: AnyBudget) -> list[str]:
    """The starts and ends of its period around which a part of an hour is counted pro rata, in its own time zone."""
    return [at(budget, instant) for instant in budget.status.pro_rata or ()]


def pro_rata_sentence(instants: Sequence[str]) -> str:
    """What that means for the figures."""
    return (
        f"The hour around {' and '.join(instants)} is counted pro rata in time: when in that hour energy was used is "
        "not known."
    )
