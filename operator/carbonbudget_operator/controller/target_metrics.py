"""The metrics of targets: the loop's work, and the figures and state of each target."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from carbonbudget_operator.controller.target_evaluation import TargetEvaluation
from carbonbudget_operator.controller.target_store import StoredTarget
from carbonbudget_operator.targets.target_verdict import TargetState

_UG_PER_G: Final = 1_000_000
_LABELS: Final = ("kind", "namespace", "name")
_FIGURES: Final = ("current", "expected", "baseline")


class TargetMetrics:
    """A target's labels are kind, namespace and name. Its series are removed when it is deleted."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.evaluations = Counter("carbonbudget_target_evaluations", "Evaluations of targets.", registry=registry)
        self.failures = Counter(
            "carbonbudget_target_evaluation_failures",
            "Evaluations of targets, or writes to them, that failed.",
            registry=registry,
        )
        self.patches = Counter("carbonbudget_target_patches", "Writes to targets.", registry=registry)
        self.duration = Histogram(
            "carbonbudget_target_evaluation_duration_seconds", "One evaluation of targets.", registry=registry
        )

        def gauge(name: str, text: str, *more: str) -> Gauge:
            return Gauge(name, text, (*_LABELS, *more), registry=registry)

        self._grams = gauge("carbonbudget_target_grams_per_unit", "CO2e per spec.unit.per units.", "figure")
        self._state = gauge("carbonbudget_target_state", "1 for the state the target is in.", "state")
        self._known = gauge(
            "carbonbudget_target_units_known_ratio", "Part of the window's emissions whose units are known, 0 to 1."
        )
        self._saved = gauge(
            "carbonbudget_target_saved_grams", "CO2e that the calendar window that ended last saved; below 0: lost."
        )
        self._shown: set[tuple[str, str, str]] = set()

    def evaluated(self, stored: StoredTarget, made: TargetEvaluation) -> None:
        """Set the figures of a target that was evaluated; those that it does not have are removed."""
        labels = self._labels(stored)
        for figure, found in zip(_FIGURES, (made.current_ug, made.expected_ug, made.baseline_ug), strict=True):
            self._set(self._grams, (*labels, figure), found)
        self._set(self._saved, labels, made.saved_ug)
        self._known.labels(*labels).set(made.known_percent / 100)
        self._set_state(labels, made.state)

    def not_evaluated(self, stored: StoredTarget, state: TargetState) -> None:
        """Set the state of a target that cannot be evaluated now. Its figures stay, as in its status."""
        self._set_state(self._labels(stored), state)

    def forget_all_but(self, stored: Iterable[StoredTarget]) -> None:
        """Remove the series of all other targets: they were deleted."""
        kept = {self._labels_of(one) for one in stored}
        for labels in self._shown - kept:
            for figure in _FIGURES:
                self._remove(self._grams, (*labels, figure))
            for state in TargetState:
                self._remove(self._state, (*labels, state.value))
            self._remove(self._known, labels)
            self._remove(self._saved, labels)
        self._shown &= kept

    def _set_state(self, labels: tuple[str, ...], current: TargetState) -> None:
        for state in TargetState:
            self._state.labels(*labels, state.value).set(state is current)

    def _set(self, series: Gauge, labels: tuple[str, ...], micrograms: int | None) -> None:
        if micrograms is None:
            self._remove(series, labels)
        else:
            series.labels(*labels).set(micrograms / _UG_PER_G)

    def _labels(self, stored: StoredTarget) -> tuple[str, str, str]:
        labels = self._labels_of(stored)
        self._shown.add(labels)
        return labels

    @staticmethod
    def _labels_of(stored: StoredTarget) -> tuple[str, str, str]:
        return stored.resource.kind, stored.namespace, stored.name

    @staticmethod
    def _remove(series: Gauge, labels: tuple[str, ...]) -> None:
        try:
            series.remove(*labels)
        except KeyError:  # the series was never set
            pass
