"""What the trainings of this folder share: waiting until the figures of spans were logged."""

from __future__ import annotations

import threading

import carbonbudget as cb
from carbonbudget import result_polling
from carbonbudget.span_starts import add_start_listener

# The server beside a test answers at once.
result_polling._AGAIN_WAITING_S = result_polling._SOON_S = 0.5


class Logged:
    """Made after a tracker is followed: listeners are called in order, so that this one comes last."""

    def __init__(self, log, spans: int) -> None:
        self._log, self._missing = log, spans
        self._all = threading.Event()
        self._spans = []
        add_start_listener(self._spans.append)
        cb.add_listener(self._arrived)

    def _arrived(self, span, result) -> None:
        self.newest = span, result
        self._missing -= 1
        if self._missing == 0:
            self._all.set()

    def wait(self) -> None:
        for span in self._spans:
            span.result(wait=60)  # asks again and again, not every 30 s
        assert self._all.wait(60), "no results after 60 s"
        assert self._log.wait(60), "the tracker has not taken them after 60 s"
