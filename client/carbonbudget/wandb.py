"""W&B: who the pod is in the run's config, and the figures of spans in its history."""

from __future__ import annotations

import sys

from carbonbudget.client_notices import safely
from carbonbudget.tracker_identity import tracker_identity
from carbonbudget.tracker_log import TrackerLog, metric_prefix, metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.span_results import Result
    from carbonbudget.tracked_span import TrackedSpan
    from carbonbudget.tracker_log import Predicted

_CONFIG = "carbonbudget"  # the bridge finds runs by this key
_MOST_RUNS = 100


class _Row:
    """What this thread has put into the row of a run that is not complete yet."""

    def __init__(self) -> None:
        self.step: int | None = None  # W&B's own, when the last figures were written
        self.prefixes: set[str] = set()
        self.defined: set[str] = set()  # all of the run that have their axis


_rows: dict[str, _Row] = {}  # by the run's id; of W&B's one thread


@safely
def follow(run: Any = None) -> None:
    """Put the pod's identity into the config of `run` (else of the active one), and log the results of spans to it."""
    run = run if run is not None else _active()
    if run is not None and (identity := tracker_identity()):
        run.config.update({_CONFIG: identity}, allow_val_change=True)
    LOG.follow()


def _active() -> Any:
    wandb = sys.modules.get("wandb")
    return getattr(wandb, "run", None)


def _write(run: Any, span: TrackedSpan | Predicted, result: Result) -> bool:
    """Into the row that the training completes: if we ended a row, W&B would drop what the training adds to it later.

    Spans of several names share a row. The next figures of the same name go into a later row: until there is one, this
    returns False. At the end of the training nobody adds to its last row, so that the rows are ended here.
    """
    if getattr(run, "_is_finished", False):
        raise RuntimeError("its run has ended; call carbonbudget.wait_results(180) before wandb.finish()")
    while len(_rows) > _MOST_RUNS:
        _rows.pop(next(iter(_rows)))
    row, prefix = _rows.setdefault(run.id, _Row()), metric_prefix(span)
    if prefix in row.prefixes and row.step == run.step:
        if not LOG.queue.finishing:
            return False
        run.log({}, commit=True)
    axis = f"{prefix}/step"
    if prefix not in row.defined:
        # An axis for each name: results come minutes late, and W&B's own step only grows.
        run.define_metric(axis, hidden=True)
        run.define_metric(f"{prefix}/*", step_metric=axis)
        row.defined.add(prefix)
    run.log({axis: span.step or 0, **metrics(span, result)}, commit=False)
    step = run.step
    row.prefixes = {prefix, *(row.prefixes if step == row.step else ())}
    row.step = step
    return True


LOG = TrackerLog("W&B", _active, _write)
