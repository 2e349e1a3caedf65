"""MLflow without code: tags on each run that starts, and the figures of spans as its metrics.

Loaded by MLflow itself through the entry point `mlflow.run_context_provider`. It imports MLflow only when a run is on.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar

from carbonbudget.client_notices import safely
from carbonbudget.tracker_identity import tracker_identity
from carbonbudget.tracker_log import TrackerLog, metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.span_results import Result
    from carbonbudget.tracked_span import TrackedSpan
    from carbonbudget.tracker_log import Predicted

# The run of a framework's logger in this context, with the client that writes it: it is no active run of MLflow's.
_LOGGERS_RUN: ContextVar[tuple[str, Any] | None] = ContextVar("carbonbudget_mlflow_run", default=None)
_TAGS = ("namespace", "pod_uid", "pod", "run", "job")


class RunContext:
    """What MLflow asks when `mlflow.start_run` or a logger starts a run (it needs no base class of MLflow's)."""

    def in_context(self) -> bool:
        """Whether there are tags. Where MLflow asks, runs are used: from then on they get the figures of spans."""
        follow()
        return bool(_tags())

    def tags(self) -> dict[str, str]:
        """`carbonbudget.namespace`, `.pod_uid`, `.pod`, `.run` and `.job`, as far as they are known."""
        return _tags() or {}


@safely
def _tags() -> dict[str, str]:
    return {f"carbonbudget.{name}": value for name, value in tracker_identity().items() if name in _TAGS}


@safely
def enter_run(run_id: str, client: Any) -> None:
    """Spans that begin in this context from now on belong to this run, which `client`, an MlflowClient, writes."""
    _LOGGERS_RUN.set((run_id, client))


@safely
def leave_run() -> None:
    """Spans that begin from now on belong to MLflow's active run."""
    _LOGGERS_RUN.set(None)


def _active() -> tuple[str, Any] | None:
    if (given := _LOGGERS_RUN.get()) is not None:
        return given
    # MLflow's active run is the calling thread's own. Not imported yet: there is none.
    mlflow = sys.modules.get("mlflow")
    run = mlflow.active_run() if mlflow is not None else None
    return (run.info.run_id, None) if run is not None else None


def _write(run: tuple[str, Any], span: TrackedSpan | Predicted, result: Result) -> None:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    run_id, client = run
    # A final figure is a millisecond younger: MLflow shows the youngest of a step.
    at = (span.end_ms or span.start_ms) + (result.state == "final")
    points = [Metric(name, value, at, span.step or 0) for name, value in metrics(span, result).items()]
    (client or MlflowClient()).log_batch(run_id, metrics=points)


LOG = TrackerLog("MLflow", _active, _write)


@safely
def follow() -> None:
    """Log the results of spans to the MLflow run that was active when they began. The entry point calls this."""
    LOG.follow()
