"""Matchers, variables and expressions that several dashboards share.

Emissions and power are gauges of the last whole hour. They are added up over time, each interval times its hours, and
are never the input of `rate`.
"""

from __future__ import annotations

from grafana.panels import Variable

OF_BUDGETS = 'namespace=~"$namespace",name=~"$name"'
ACCOUNTING = 'accounting="$accounting"'
OF_LABEL = f'label="$label",{ACCOUNTING}'
OF_EMITTER = f'namespace=~"$emitter",{ACCOUNTING}'
NAMESPACE = Variable("namespace", "Namespace", "label_values(carbonbudget_budget_limit_grams, namespace)")
NAME = Variable("name", "Budget", 'label_values(carbonbudget_budget_limit_grams{namespace=~"$namespace"}, name)')
CHOSEN = Variable(
    "accounting", "Accounting",
    'label_values(carbonbudget_emissions_rate_grams_per_hour{accounting!="Embodied"}, accounting)', many=False,
)  # fmt: skip
EMITTERS = Variable("emitter", "Namespace", "label_values(carbonbudget_emissions_rate_grams_per_hour, namespace)")
LABEL = Variable("label", "Label", "label_values(carbonbudget_label_emissions_rate_grams_per_hour, label)", many=False)
INSTANCE = Variable("instance", "Node's agent", "label_values(carbonbudget_agent_windows_total, instance)")


def rate_of(matchers: str) -> str:
    """Grams an hour. Each server exports the whole cluster, a restarted one under another name: one of them counts."""
    name = "carbonbudget_emissions_rate_grams_per_hour"
    return f"max by (namespace, accounting, component) ({name}{{{matchers}}})"


def label_rate(matchers: str) -> str:
    """The same by label."""
    return f"max by (label, value, accounting) (carbonbudget_label_emissions_rate_grams_per_hour{{{matchers}}})"


def model_rate(matchers: str) -> str:
    """The same by model."""
    return f"max by (namespace, model, accounting) (carbonbudget_model_emissions_rate_grams_per_hour{{{matchers}}})"


def version_rate(matchers: str) -> str:
    """The same by model version."""
    name = "carbonbudget_model_version_emissions_rate_grams_per_hour"
    return f"max by (namespace, model, version, accounting) ({name}{{{matchers}}})"


def power_of(matchers: str = "") -> str:
    """Watts, of one server."""
    return f"max by (namespace, component) (carbonbudget_energy_rate_watts{{{matchers}}})"


def in_range(rate: str, by: str = "") -> str:
    """Grams in the time that the dashboard shows: what each interval has an hour, times its hours."""
    return f"sum {by}(sum_over_time(({rate})[$__range:$__interval])) * $__interval_ms / 3600000"
