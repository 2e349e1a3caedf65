"""Results of spans, on their way to the run of a tracker that was active when the span began.

A tracker may be slow or away, so that each has a thread and a bounded queue of its own: neither the training nor the
thread that sends spans ever calls a tracker.
"""

from __future__ import annotations

import os
import re
import threading
import time

from carbonbudget.span_results import Result
from carbonbudget.span_starts import add_start_listener
from carbonbudget.tracker_queue import TrackerQueue
from carbonbudget.tracking_session import SESSION
from carbonbudget.wanted_spans import WantedSpans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Callable

    from carbonbudget.tracked_span import TrackedSpan

    Active = Callable[[], Any]
    Write = Callable[[Any, "TrackedSpan | Predicted", Result], object]

_MOST_SPANS = 10_000  # whose results have not come
_NO_METRIC_NAME = re.compile(r"[^A-Za-z0-9_. -]")
_FIGURES = ("co2e_g", "market_g", "embodied_g", "measured_percent")
_NAMES = {"market_g": "co2e_market_g"}


def metric_prefix(span: TrackedSpan | Predicted) -> str:
    """`carbon/NAME` of a span, with the characters that trackers accept."""
    return f"carbon/{_NO_METRIC_NAME.sub('_', span.name)[:100]}"


def metrics(span: TrackedSpan | Predicted, result: Result) -> dict[str, float]:
    """`carbon/NAME/energy_kwh`, `.../co2e_g` and so on of one span: the names without NAME are the whole run's.

    A figure that is not known yet is left out.
    """
    prefix = metric_prefix(span)
    found = {name: getattr(result, name) for name in _FIGURES}
    found["energy_kwh"] = None if result.energy_j is None else result.energy_j / 3.6e6
    return {f"{prefix}/{_NAMES.get(name, name)}": value for name, value in found.items() if value is not None}


class Predicted:
    """Stands in the place of a span for what the whole training is expected to need: `carbon/predicted/...`."""

    name = "predicted"

    def __init__(self, step: int | None) -> None:
        self.step = step
        self.start_ms = self.end_ms = time.time_ns() // 1_000_000


class TrackerLog:
    """Follows all spans of this process, and writes their results to one kind of tracker.

    `active` gives the tracker's run in the calling thread, or None; it must be quick. `write`: see TrackerQueue.
    """

    def __init__(self, tracker: str, active: Active, write: Write) -> None:
        self._active, self.queue = active, TrackerQueue(tracker, write)
        self.wait = self.queue.wait
        self._runs: dict[str, Any] = {}
        self._spans = WantedSpans(_MOST_SPANS)
        self._newest: tuple[Any, int | None, int] | None = None  # run, step and thread
        self._lock = threading.RLock()  # a signal handler of the training may begin a span while one begins
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start_anew)

    def _start_anew(self) -> None:
        # The lock may have been held by a thread that a forked child does not have.
        self._lock = threading.RLock()
        self._runs, self._spans = {}, WantedSpans(_MOST_SPANS)
        self._newest = None

    def follow(self) -> None:
        """Begin to follow; once more has no effect."""
        add_start_listener(self.started)
        SESSION.add_listener(self.log_result)
        if self.log_prediction not in SESSION.prediction_listeners:
            SESSION.prediction_listeners.append(self.log_prediction)
        if self.queue.finish not in SESSION.tracker_waits:
            SESSION.tracker_waits.append(self.queue.finish)

    def started(self, span: TrackedSpan) -> None:
        """A span has begun in this thread."""
        run, thread = self._active(), threading.get_ident()
        if run is None:
            # The thread's run has ended: what is predicted from now on is not of that run.
            with self._lock:
                if self._newest is not None and self._newest[2] == thread:
                    self._newest = None
            return
        with self._lock:
            self._runs[span.id] = run
            self._newest = run, span.step, thread
            evicted = self._spans.add(span)
            if evicted is not None:
                self._runs.pop(evicted.id, None)

    def log_result(self, span: TrackedSpan, result: Result) -> None:
        """Queue a result of a span for the run that was active when the span began."""
        with self._lock:
            run = self._runs.get(span.id)
            if result.state == "final":
                self._runs.pop(span.id, None)
                self._spans.forget(span.id)
        if run is not None:
            self.queue.put((run, span, result), self._lock)

    def log_prediction(self, prediction: Mapping[str, Any] | None) -> None:
        """Queue a prediction of the whole training for the run of the newest span, at that span's step."""
        newest = self._newest
        if prediction is not None and newest is not None:
            self.queue.put((newest[0], Predicted(newest[1]), Result(prediction)), self._lock)
