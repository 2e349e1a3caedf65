"""W&B: who the pod is in the run's config, and the figures of spans in its history."""

from __future__ import annotations

import sys
import time

from carbonbudget.client_notices import safely
from carbonbudget.tracker_identity import tracker_identity
from carbonbudget.tracker_log import TrackerLog, metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.span_results import Result
    from carbonbudget.tracked_span import TrackedSpan
    from carbonbudget.tracker_log import Predicted

_CONFIG = "carbonbudget"  # the bridge finds runs by this key
_NEXT_ROW_S = 10.0
_row: tuple[Any, int] | None = None  # the run and its step when the last figures were written


@safely
def follow(run: Any = None) -> None:
    """Put the pod's identity into the config of `run` (else of the active one), and log the results of spans to it."""
    run = run if run is not None else _active()
    if run is not None:
        # An axis of our own: results come minutes late, and W&B's own step only grows.
        run.define_metric("carbon/step", hidden=True)
        run.define_metric("carbon/*", step_metric="carbon/step")
        if identity := tracker_identity():
            run.config.update({_CONFIG: identity}, allow_val_change=True)
    LOG.follow()


def _active() -> Any:
    wandb = sys.modules.get("wandb")
    return getattr(wandb, "run", None)


def _write(run: Any, span: TrackedSpan | Predicted, result: Result) -> None:
    """Into the row that the training completes: if we ended a row, W&B would drop what the training adds to it later.

    The next figures go into the next row, which this thread waits for; if there is none, they take the place of these.
    """
    global _row  # of W&B's one thread
    until_s = time.monotonic() + _NEXT_ROW_S
    while _row is not None and _row[0] is run and _row[1] == run.step and time.monotonic() < until_s:
        time.sleep(0.1)
    run.log({"carbon/step": span.step or 0, **metrics(span, result)}, commit=False)
    _row = run, run.step


LOG = TrackerLog("W&B", _active, _write)
