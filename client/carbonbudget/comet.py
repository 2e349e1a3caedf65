"""Comet: who the pod is among the experiment's "others", and the figures of spans as its metrics."""

from __future__ import annotations

import copy
import sys

from carbonbudget.client_notices import safely
from carbonbudget.tracker_identity import tracker_identity
from carbonbudget.tracker_log import TrackerLog, metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.span_results import Result
    from carbonbudget.tracked_span import TrackedSpan
    from carbonbudget.tracker_log import Predicted


@safely
def follow(experiment: Any = None) -> None:
    """Log the pod's identity to `experiment` (else the running one), and the results of spans to it."""
    experiment = experiment if experiment is not None else _active()
    if experiment is not None:
        for name, value in tracker_identity().items():
            experiment.log_other(f"carbonbudget.{name}", value)
    LOG.follow()


def _active() -> Any:
    comet = sys.modules.get("comet_ml")
    return comet.get_running_experiment() if comet is not None else None


def _write(experiment: Any, span: TrackedSpan | Predicted, result: Result) -> None:
    epoch = span.step if span.name == "epoch" else None
    # The step of a metric becomes the experiment's own, which the training's next metrics would have: a copy keeps it.
    copied = copy.copy(experiment)
    for name, value in metrics(span, result).items():
        copied.log_metric(name, value, step=span.step, epoch=epoch, include_context=False)


LOG = TrackerLog("Comet", _active, _write)
