"""The controller's metrics: its work, and the figures and state of each budget."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from carbonbudget_operator.budgets.adjustments import ADJUSTMENT_REASONS, LimitChange
from carbonbudget_operator.budgets.use_evaluation import UseEvaluation
from carbonbudget_operator.budgets.verdict import State, Verdict
from carbonbudget_operator.controller.budget_store import StoredBudget

_UG_PER_G = 1_000_000
_LABELS = ("kind", "namespace", "name")


class ControllerMetrics:
    """A budget's labels are kind, namespace and name. Its series are removed when it is deleted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.evaluations = Counter("carbonbudget_evaluations", "Evaluations of all budgets.", registry=registry)
        self.failures = Counter(
            "carbonbudget_evaluation_failures", "Evaluations or writes that failed.", registry=registry
        )
        self.run_events_dropped = Counter(
            "carbonbudget_run_events_dropped",
            "Events of runs over their own limit that were not posted, since too many waited.",
            registry=registry,
        )
        self.patches = Counter("carbonbudget_patches", "Writes to budgets.", registry=registry)
        self.duration = Histogram(
            "carbonbudget_evaluation_duration_seconds", "One evaluation of all budgets.", registry=registry
        )

        def gauge(name: str, text: str, *more: str) -> Gauge:
            return Gauge(name, text, (*_LABELS, *more), registry=registry)

        self._limit = gauge("carbonbudget_budget_limit_grams", "CO2e allowed in the period, with adjustments.")
        self._adjustment = gauge(
            "carbonbudget_budget_adjustment_grams", "What changed the limit of the period, by reason.", "reason"
        )
        self._allocated = gauge(
            "carbonbudget_budget_allocated_grams", "Limits of the budgets that name this one as their parent."
        )
        self._used = gauge("carbonbudget_budget_used_grams", "CO2e used in the period.")
        self._forecast = gauge("carbonbudget_budget_forecast_grams", "CO2e expected at the period's end.")
        self._state = gauge("carbonbudget_budget_state", "1 for the state the budget is in.", "state")
        self._blocking = gauge("carbonbudget_budget_blocking", "1 while it refuses new work or suspends.")
        self._data_through = gauge(
            "carbonbudget_budget_data_through_timestamp_seconds", "Up to when every node had reported."
        )
        self._used_fell = gauge("carbonbudget_budget_used_fell", "1 while the ledger has less than it had.")
        self._known: set[tuple[str, str, str]] = set()

    def evaluated(self, stored: StoredBudget, limit_ug: int, verdict: Verdict, use: UseEvaluation | None) -> None:
        """Set the figures of a budget that was evaluated. `use`: by the server's figures; None without an answer."""
        labels = _labels(stored)
        self._known.add(labels)
        self._limit.labels(*labels).set(limit_ug / _UG_PER_G)
        self._used.labels(*labels).set(verdict.used_ug / _UG_PER_G)
        lost = use is not None and use.lost
        if use is not None and use.forecast_ug is not None:
            self._forecast.labels(*labels).set(use.forecast_ug / _UG_PER_G)
        elif not lost:
            self._remove(self._forecast, labels)
        self._blocking.labels(*labels).set(verdict.acts_until > 0)
        self._used_fell.labels(*labels).set(lost)
        self._set_state(labels, verdict.state)

    def adjusted(self, stored: StoredBudget, changes: Iterable[LimitChange], allocated_ug: int | None) -> None:
        """Set what changed the limit, and what the children's limits are together; None without children."""
        labels = _labels(stored)
        self._known.add(labels)
        sums: dict[str, int] = dict.fromkeys(ADJUSTMENT_REASONS, 0)
        for change in changes:
            sums[change.reason] += change.micrograms
        for reason in ADJUSTMENT_REASONS:
            if sums[reason]:
                self._adjustment.labels(*labels, reason).set(sums[reason] / _UG_PER_G)
            else:
                self._remove(self._adjustment, (*labels, reason))
        if allocated_ug is None:
            self._remove(self._allocated, labels)
        else:
            self._allocated.labels(*labels).set(allocated_ug / _UG_PER_G)

    def unknown(self, stored: StoredBudget) -> None:
        """Set the state of a budget that cannot be evaluated now."""
        labels = _labels(stored)
        self._known.add(labels)
        self._blocking.labels(*labels).set(0)
        self._set_state(labels, State.UNKNOWN)

    def data_through(self, stored: Iterable[StoredBudget], at: int) -> None:
        """Set up to when there are data (UTC seconds). A value that does not change means that data is missing."""
        for one in stored:
            self._known.add(_labels(one))
            self._data_through.labels(*_labels(one)).set(at)

    def forget_all_but(self, stored: Iterable[StoredBudget]) -> None:
        """Remove the series of all other budgets: they were deleted."""
        kept = {_labels(one) for one in stored}
        for labels in self._known - kept:
            for series in (
                self._limit, self._used, self._forecast, self._blocking, self._used_fell, self._data_through,
                self._allocated,
            ):  # fmt: skip
                self._remove(series, labels)
            for reason in ADJUSTMENT_REASONS:
                self._remove(self._adjustment, (*labels, reason))
            for state in State:
                self._remove(self._state, (*labels, state.value))
        self._known &= kept

    def _set_state(self, labels: tuple[str, str, str], current: State) -> None:
        for state in State:
            self._state.labels(*labels, state.value).set(state is current)

    @staticmethod
    def _remove(series: Gauge, labels: tuple[str, ...]) -> None:
        try:
            series.remove(*labels)
        except KeyError:  # the series was never set
            pass


def _labels(stored: StoredBudget) -> tuple[str, str, str]:
    return stored.resource.kind, stored.namespace, stored.name
