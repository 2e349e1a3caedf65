"""What one budget used, how well that is known, and what is to come, in plain words. Pure."""

from __future__ import annotations

import datetime as dt

from carbonbudget_operator.api.carbonbudget import AnyBudget, ClusterCarbonBudget
from carbonbudget_operator.budgets.limit_in_force import limit_in_force_text
from carbonbudget_operator.budgets.quantity import format_percent
from carbonbudget_operator.cli.budget_table import pro_rata, pro_rata_sentence
from carbonbudget_operator.cli.formatted_values import at, listed, micrograms, utc


def used(budget: AnyBudget) -> list[str]:
    """How much, up to when and by which accounting, of which parts, by whom."""
    status = budget.status
    if status.used is None:
        return ["Not evaluated yet: the controller writes the first figures within a window or two."]
    percent = ""
    if status.percent_used is not None:
        percent = f" ({format_percent(status.percent_used, status.used_micrograms or micrograms(status.used))} %)"
    subject = "By the workload that used most: " if budget.spec.per == "Workload" else ""
    sentences = [
        f"{subject}{status.used} of {limit_in_force_text(budget)}{percent}; {status.remaining or '?'} are left."
    ]
    sentences.append(f"{_as_of(budget)}.")
    if _nothing_used(budget):
        sentences.append(f"No use of these pods was reported in the period.{_compare(budget)}")
    if status.breakdown:
        parts = {
            "that followed the pods' use": status.breakdown.dynamic,
            "for what they hold idle": status.breakdown.idle,
            "for their part of the system": status.breakdown.overhead,
            "for making the hardware": status.breakdown.embodied,
        }
        known = [f"{mass} {what}" for what, mass in parts.items() if mass and micrograms(mass)]
        sentences += [f"Of it {listed(known)}."] if known else []
    if status.top_workloads:
        tops = [f"{top.kind} {top.name} {top.emissions}" for top in status.top_workloads[:3]]
        sentences.append(
            f"Most of it by {listed(tops)}." if budget.spec.per != "Workload" else f"Most by {listed(tops)}."
        )
    if status.settled and status.settled.revised_micrograms > 0:
        sentences.append(
            "Revised factors raised the figures of earlier hours. This is shown, and no threshold acts on it."
        )
    return sentences


def _nothing_used(budget: AnyBudget) -> bool:
    """Whether it was evaluated, and nothing that it selects used any energy."""
    status = budget.status
    return status.used is not None and not (status.used_micrograms or micrograms(status.used))


def _compare(budget: AnyBudget) -> str:
    """Where to look if that is a surprise: a mistyped label selects nothing, and Kubernetes accepts it."""
    commands = []
    if isinstance(budget, ClusterCarbonBudget) and budget.spec.namespace_selector:
        commands.append("kubectl get namespaces --show-labels")
    if budget.spec.selector:
        where = f"-n {budget.metadata.namespace}" if budget.metadata.namespace else "-A"
        commands.append(f"kubectl get pods {where} --show-labels")
    if not commands:
        return ""
    advice = "The labels of a Job's pod template count, not the Job's own."
    return f" If you expected some, compare the labels: {listed(commands)}. {advice}"


def _as_of(budget: AnyBudget) -> str:
    """Up to when and by which accounting."""
    basis = "Market-based" if budget.spec.accounting == "MarketBased" else "Location-based"
    through = budget.status.data_through
    return f"{basis}, by reports up to {at(budget, through)}" if through else f"{basis}; up to when is not known"


def measured(budget: AnyBudget) -> list[str]:
    """How well it is known."""
    status, sentences = budget.status, []
    if status.data_through:
        sentences.append(
            f"Every node that still reports has reported up to {at(budget, status.data_through)}; one that was silent "
            "for five minutes counts as not reported."
        )
    if status.coverage is not None:
        rest = "" if status.coverage >= 100 else "; what the rest used is missing from the figures"
        sentences.append(f"{status.coverage} % of the nodes' time was reported{rest}.")
    if status.measured is not None and not _nothing_used(budget):
        rest = "" if status.measured >= 100 else "; the rest is modelled, an estimate"
        sentences.append(f"{status.measured} % of the energy was measured by a meter{rest}.")
    if instants := pro_rata(budget):
        sentences.append(pro_rata_sentence(instants))
    return sentences


def forecast(budget: AnyBudget, now: dt.datetime) -> list[str]:
    """What is to come, and what that rests on."""
    status = budget.status
    if status.used is None:
        return []
    if budget.spec.per == "Workload":
        return ["None: each workload has a limit of its own."]
    if status.period is not None and utc(status.period.end) <= now:
        over = " The limit was used up." if status.state == "Exceeded" else ""
        return [f"None: the period ended {at(budget, status.period.end)}, with {status.used} used.{over}"]
    if status.forecast is None:
        return ["None yet: too little is known of this period."]
    end = at(budget, status.period.end) if status.period else "the period's end"
    if status.exhausted_at:
        verb = "was reached" if utc(status.exhausted_at) <= now else "is reached"
        reached = f"the limit {verb} on {at(budget, status.exhausted_at)}"
    else:
        reached = "the limit is used up already" if status.state == "Exceeded" else "the limit is not reached"
    return [
        f"{status.forecast} by {end}: {reached}.",
        "It goes by the mean rate so far and, once there are two weeks of data, by the hours of the week.",
    ]
