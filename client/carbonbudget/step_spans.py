"""Spans of optimizer steps, for trainings whose epochs are too few to say anything: one epoch, or so many steps.

Most language models are trained in this way.
"""

from __future__ import annotations

import time

from carbonbudget.client_notices import safely
from carbonbudget.epoch_spans import EpochSpans
from carbonbudget.tracking_session import SESSION

_AT_LEAST_S = 60.0  # a measured window


class StepSpans:
    """A span called `steps` for each `every` steps, whose number is that of its first step. No method raises.

    Without `every` as many steps as take a minute, by those of the first minute. The first step is not in this measure:
    caches are filled and kernels compiled in it. All of a training have as many, since the server predicts from them.
    """

    def __init__(self, every: int | None = None) -> None:
        self._given = every or None
        self._spans = EpochSpans("steps")
        self._clear()

    def _clear(self, step: int | None = None) -> None:
        self._newest = self._first = step  # None: no training is on. `_first` is of the open span
        self._every = self._given
        self._measured_from: tuple[int, float] | None = None
        self._done = (step or 0) // self._every if self._every else 0  # spans, with those before a resume

    @safely
    def begin(self, step: int) -> None:
        """A training begins after so many steps: 0, or those of its checkpoint."""
        self._clear(step)
        self._spans.begin(step)

    @safely
    def step_done(self, step: int, total: int | None) -> None:
        """So many steps are done of all, `total` if that is known. The same number again changes nothing."""
        if self._first is None or self._newest is None or step <= self._newest:
            return
        self._newest = step
        if self._every is None:
            now_s = time.monotonic()
            since_step, since_s = self._measured_from = self._measured_from or (step, now_s)
            if now_s - since_s < _AT_LEAST_S:
                return
            self._every = step - since_step
            self._done = self._first // self._every
        elif step - self._first < self._every:
            return
        self._end_span(step, total)
        self._first = step
        if total is None or step < total:
            self._spans.begin(step)

    @safely
    def end(self, total: int | None = None) -> None:
        """The training ends, or is stopped. A span in which no step was done is forgotten."""
        if self._first is None or self._newest is None:
            return
        if self._newest > self._first:
            self._end_span(self._newest, total)
        else:
            self._spans.cancel()
        self._clear()

    def _end_span(self, step: int, total: int | None) -> None:
        if self._spans.end() is None:
            return
        self._done += 1
        if total is not None and self._every:
            left = max(0, -(-(total - step) // self._every))
            SESSION.progress(self._done, self._done + left, self._spans.name)
