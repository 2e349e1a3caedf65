"""The newest prediction of each pod, which answers the posts that follow until a new one can tell more.

A prediction is of the whole run, by its last five steps. One that is a tenth of the remaining time old, and at most
five minutes, has seen nearly all that a new one would see. A thousand pods that post each minute would else have a
thousand predictions made. It is in the server's own process: a pod's posts may go to several worker processes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.ledger.span_store import ProgressPoint
from carbonbudget_operator.spans.step_prediction import LAST_STEPS

_MOST_SECONDS: Final = 300  # as long as the controller's predictions of workloads
_PART: Final = 10  # of the time that the run has left
_MOST_PODS: Final = 20_000  # some 600 bytes each


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer to the progress `point`, made at the UTC second `at`, which holds until `until`."""

    point: ProgressPoint
    at: int
    until: int
    answer: bytes

    def holds(self, point: ProgressPoint, now: int) -> bool:
        """Whether it answers a later progress of the same run, which has steps left."""
        its = self.point
        is_same_run = (its.unit, its.total) == (point.unit, point.total) and its.done <= point.done < point.total
        return is_same_run and its.at_ms <= point.at_ms and self.at <= now < self.until


class KnownPredictions:
    """By the uid of the pod; of each pod the newest alone."""

    def __init__(self, most: int = _MOST_PODS) -> None:
        self._most = most
        self._known: dict[str, _Known] = {}

    def find(self, uid: str, point: ProgressPoint, now: int) -> bytes | None:
        """The answer to this progress; None if a prediction must be made. `now` is in UTC seconds."""
        known = self._known.get(uid)
        return known.answer if known is not None and known.holds(point, now) else None

    def put(self, uid: str, point: ProgressPoint, now: int, answer: bytes) -> None:
        """Take over what was answered: a `ProgressAnswer` as JSON.

        Until five steps are done each new step changes the prediction, and so none is known.
        """
        self._known.pop(uid, None)
        prediction = json.loads(answer)["prediction"]
        if prediction is None or point.done < LAST_STEPS:
            return
        left_s = (prediction["ends_at_ms"] - now * 1000) // 1000
        until = now + min(_MOST_SECONDS, left_s // _PART)
        if until <= now:
            return
        while len(self._known) >= self._most:
            del self._known[next(iter(self._known))]
        self._known[uid] = _Known(point, now, until, answer)
