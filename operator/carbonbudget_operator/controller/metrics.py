"""The controller's metrics: what it did, and how each budget stands."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from carbonbudget_operator.budgets.evaluate import State, Verdict

_UG_PER_G = 1_000_000


class ControllerMetrics:
    """Labels are namespace and name; a budget that is gone takes its series with it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.evaluations = Counter("carbonbudget_evaluations", "Evaluations of all budgets.", registry=registry)
        self.failures = Counter(
            "carbonbudget_evaluation_failures", "Evaluations or writes that failed.", registry=registry
        )
        self.patches = Counter("carbonbudget_patches", "Writes to budgets.", registry=registry)
        self.duration = Histogram(
            "carbonbudget_evaluation_duration_seconds", "One evaluation of all budgets.", registry=registry
        )
        labels = ("namespace", "name")
        self._used = Gauge("carbonbudget_budget_used_grams", "CO2e used in the period.", labels, registry=registry)
        self._limit = Gauge("carbonbudget_budget_limit_grams", "CO2e allowed in the period.", labels, registry=registry)
        self._state = Gauge(
            "carbonbudget_budget_state",
            "1 for the state the budget is in.",
            (*labels, "state"),
            registry=registry,
        )
        self._known: set[tuple[str, str]] = set()

    def judged(self, key: str, limit_ug: int, verdict: Verdict) -> None:
        """`key` is namespace/name."""
        namespace, _, name = key.partition("/")
        self._known.add((namespace, name))
        self._used.labels(namespace, name).set(verdict.used_ug / _UG_PER_G)
        self._limit.labels(namespace, name).set(limit_ug / _UG_PER_G)
        for state in State:
            self._state.labels(namespace, name, state.value).set(state is verdict.state)

    def forget_all_but(self, keys: Iterable[str]) -> None:
        """Drop the series of budgets that are gone."""
        kept = {(namespace, name) for namespace, _, name in (key.partition("/") for key in keys)}
        for namespace, name in self._known - kept:
            self._used.remove(namespace, name)
            self._limit.remove(namespace, name)
            for state in State:
                self._state.remove(namespace, name, state.value)
        self._known &= kept
