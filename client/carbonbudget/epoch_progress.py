"""`epochs`: a span for each epoch, progress to the server, and one line with the prediction to the end."""

from __future__ import annotations

import time
from collections import deque

from carbonbudget.client_notices import safely, show
from carbonbudget.span_encoding import step_number
from carbonbudget.tracked_span import TrackedSpan, current_spans
from carbonbudget.tracking_session import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, TypeVar

    T = TypeVar("T")

_FIRST_EPOCHS = 2  # the first one alone is slower than the others: caches, compilation
_MEAN_OF = 10
_WORTH_A_LINE_S = 60.0


def epochs(
    iterable: Iterable[T], total: int | None = None, *, name: str = "epoch", start: int | None = None
) -> Iterator[T]:
    """The items of `iterable`, with a span called `name` around the work on each.

    `start` is the number of the first epoch, as for `enumerate`. Without it a range that counts up by one, such as
    `range(5, 10)` after a resume, gives its own numbers; anything else begins at 0. A range from 1 counts from one, and
    is no resume. `total` is the number of epochs, those before `start` included; without it `start + len(iterable)`.
    Where it is known, what all of them will have needed is shown once, after the first epochs.
    """
    first = _first(iterable) if start is None else step_number(start) or 0
    # A range from 1 is no resume, and a total that ends before the first epoch is the loop's own.
    is_whole = first == 1 or (isinstance(total, int) and total <= first)
    before = 0 if start is None and is_whole else first
    items = iter(iterable)
    # A loop inside an epoch, of folds or batches, has no outlook of its own: the progress is the outer one's.
    inside = any(isinstance(span, _EpochSpan) for span in current_spans())
    outlook = EpochOutlook(None if inside else _end(iterable, before) if total is None else total, name, before)
    step = first
    while True:
        span = _EpochSpan(name, step)
        try:
            # Inside the span: what loads the data belongs to the epoch.
            item = next(items)
        except StopIteration:
            span.cancel()
            return
        except BaseException:
            span.end()
            raise
        try:
            yield item
        finally:
            span.end()
        step += 1
        outlook.epoch_done(span)


class _EpochSpan(TrackedSpan):
    """A span that `epochs` started."""

    __slots__ = ()


def _first(iterable: object) -> int:
    is_numbered = isinstance(iterable, range) and iterable.step == 1 and iterable.start >= 0
    return iterable.start if is_numbered else 0  # type: ignore[attr-defined] # it is a range


def _end(iterable: object, first: int) -> int | None:
    try:
        return first + len(iterable)  # type: ignore[arg-type] # raises for what has no length
    except Exception:  # generators have none, and some loaders raise their own errors
        return None


class EpochOutlook:
    """What is known of the rest of one loop. The thread calls `_predicted`; the loop never waits for an answer."""

    def __init__(self, total: object, name: str, first: int = 0) -> None:
        self._total = total if isinstance(total, int) and not isinstance(total, bool) and total > 0 else None
        self._name = name
        self._first, self._done = first, first  # how many were done before this loop, and now
        self._start_s = time.monotonic()
        self._spans: deque[TrackedSpan] = deque(maxlen=_MEAN_OF)
        self._shown = 0  # 1: the time alone, 2: energy

    @safely
    def epoch_done(self, span: TrackedSpan) -> None:
        """One more epoch has ended: queue the progress for the server, which may answer with a prediction."""
        self._done += 1
        if not self._total:
            return
        self._spans.append(span)
        if self._shown < 2 and SESSION.recording:
            SESSION.want(span)
        SESSION.progress(self._done, max(self._total, self._done), self._name, self._predicted)

    def _predicted(self, prediction: dict[str, Any] | None) -> None:
        done = self._done
        left = (self._total or 0) - done
        if self._shown == 2 or left <= 0 or done - self._first < _FIRST_EPOCHS or not SESSION.recording:
            return
        # Imported when it is needed, mostly by the thread.
        from carbonbudget import prediction_text

        text = prediction_text.of_server(prediction) if prediction else None
        if text is None:
            results = [span.known_result for span in list(self._spans) if span.known_result is not None]
            text = prediction_text.of_results(results, left + done)
        if text is not None:
            self._shown = 2
        elif not self._shown and prediction is None and (not SESSION.server or done - self._first > 2 * _FIRST_EPOCHS):
            rest_s = (time.monotonic() - self._start_s) / (done - self._first) * left
            if rest_s >= _WORTH_A_LINE_S:
                self._shown = 1
                text = prediction_text.of_time(rest_s, left, self._name)
        if text is not None:
            show(f"{text} ({self._name} {done} of {self._total})")
