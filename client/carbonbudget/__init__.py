"""Client library of the carbonbudget operator: names the parts of a run, so that each gets its energy and CO2e.

The library never raises into the code that it tracks and never makes it wait. It sends names and times; the server
divides the energy that it measured for the pod among them.
"""

from __future__ import annotations

from carbonbudget.client_notices import safely
from carbonbudget.epoch_progress import epochs
from carbonbudget.span_results import Result
from carbonbudget.span_tracking import track
from carbonbudget.tracked_span import TrackedSpan, current_spans
from carbonbudget.tracking_session import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Callable

    Listener = Callable[[TrackedSpan, Result], object]

Span = TrackedSpan

__all__ = [
    "init",
    "track",
    "epochs",
    "units",
    "progress",
    "flush",
    "wait_results",
    "add_listener",
    "remove_listener",
    "add_prediction_listener",
    "current_spans",
    "Span",
    "Result",
]


@safely
def init(run: str | None = None, *, model: str | None = None, version: str | None = None) -> None:
    """Name the run that the next spans belong to; without it the environment's CARBONBUDGET_RUN counts.

    Optional, and may be called again. It reads the environment anew and opens no connection. In a cluster the pod's
    label `carbonbudget.dev/run` has precedence.
    """
    SESSION.init(run, model, version)


@safely
def units(**counts: float) -> None:
    """Report functional units done since the last call for the same unit: `units(inferences=1000, tokens=52_000)`."""
    SESSION.count_units(counts)


@safely
def progress(done: int, total: int, unit: str = "epoch") -> None:
    """Report that `done` of `total` units of work are done, for the server's prediction. `epochs` does this itself."""
    SESSION.progress(done, total, unit)


def flush(seconds: float = 5.0) -> bool:
    """Send what is queued now, and wait for it up to `seconds`. Whether the queue was emptied in time."""
    return bool(_flush(seconds))


@safely
def _flush(seconds: float) -> bool:
    return SESSION.flush(float(seconds))


def wait_results(seconds: float = 180.0) -> bool:
    """Wait until the spans that listeners or trackers follow have a result, and the trackers have taken it.

    Meant for the end of a training: figures come one to two minutes after their span. Whether all came within
    `seconds`. Without a listener and without a tracker nobody asks for results, and it returns at once.
    """
    return bool(_wait_results(seconds))


@safely
def _wait_results(seconds: float) -> bool:
    return SESSION.wait_results(float(seconds))


@safely
def add_listener(listener: Listener) -> None:
    """Call `listener(span, result)` when the result of a span arrives: once provisional and once final.

    It is called from the library's own thread. What it raises is shown once and has no effect.
    """
    SESSION.add_listener(listener)


@safely
def add_prediction_listener(listener: Callable[[Mapping[str, int] | None], object]) -> None:
    """Call `listener(prediction)` with each answer to a reported progress, or None while there is no prediction.

    A prediction has `energy_uj`, `low_uj`, `high_uj`, `emissions_ug`, `low_ug`, `high_ug` and `ends_at_ms`.
    """
    SESSION.prediction_listeners.append(listener)


@safely
def remove_listener(listener: Listener) -> None:
    """Call this listener no more."""
    SESSION.remove_listener(listener)
