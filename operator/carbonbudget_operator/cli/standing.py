"""How budgets stand, for people: rows of tables. Pure: objects in, texts out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carbonbudget_operator.api.carbonbudget import AnyBudget
from carbonbudget_operator.cli.wording import at, micrograms

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
    pro_rata: Sequence[str] = ()


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
    pro_rata: Sequence[str] = ()


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
        exhausted=at(budget, status.exhausted_at),
        state=status.state or "",
        action=status.action or "",
        resets=at(budget, status.period.end if status.period else None),
        pro_rata=pro_rata(budget),
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
            pro_rata(budget),
        )
        for budget in budgets
        for top in budget.status.top_workloads or ()
    ]
    return sorted(found, key=lambda w: (-micrograms(w.emissions), w.namespace, w.kind, w.name, w.budget))


def pro_rata(budget: AnyBudget) -> list[str]:
    """The starts and ends of its period around which a part of an hour is counted pro rata, in its own time zone."""
    return [at(budget, instant) for instant in budget.status.pro_rata or ()]


def pro_rata_sentence(instants: Sequence[str]) -> str:
    """What that means for the figures."""
    return (
        f"The hour around {' and '.join(instants)} is counted pro rata in time: when in that hour energy was used is "
        "not known."
    )


def kind_of(budget: AnyBudget) -> str:
    """Its kind."""
    return type(budget).__name__
