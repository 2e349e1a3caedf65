"""Keras 3: `model.fit(..., callbacks=[CarbonCallback()])`. The figures of each epoch are in `History`.

Keras is imported when `CarbonCallback` is first asked for, since the class needs Keras' own as its base.
"""

from __future__ import annotations

from carbonbudget.client_notices import notice_error
from carbonbudget.epoch_spans import EpochSpans, follow_trackers
from carbonbudget.tracking_session import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from carbonbudget.span_results import Result
    from carbonbudget.tracked_span import TrackedSpan

_FIGURES = {"carbon/energy_kwh": ("energy_j", 3.6e6), "carbon/co2e_g": ("co2e_g", 1.0)}
_NAN = float("nan")


class EpochFigures:
    """What the callback does, without Keras: a span for each epoch, and their figures in a list for each name.

    `wait_seconds` is how long it waits for a figure after each epoch, and at the end for those that are missing.
    With 0, the default, the training never waits: measured windows are a minute long, so that figures come after the
    epoch. They are put into `History` when they come, also after `fit` has returned. Until then they are NaN.
    """

    def __init__(self, wait_seconds: float = 0.0, name: str = "epoch") -> None:
        self.wait_seconds = wait_seconds
        self._spans = EpochSpans(name)
        self._ended: list[TrackedSpan] = []
        self._places: dict[str, int] = {}
        self._figures: dict[str, list[float]] = {name: [] for name in _FIGURES}
        self._not_final: set[str] = set()
        self._over = False

    def start(self, epochs: int | None = None) -> None:
        """A training of so many epochs begins."""
        follow_trackers()
        self._spans.total = epochs
        self._ended, self._places, self._not_final = [], {}, set()
        self._figures = {name: [] for name in _FIGURES}
        self._over = False
        SESSION.add_listener(self._arrived)

    def begin(self, epoch: int) -> None:
        """An epoch begins."""
        self._spans.begin(epoch)

    def end(self, logs: dict[str, Any] | None) -> None:
        """An epoch ends; `logs` gets its figures if they are known."""
        span = self._spans.done()
        if span is None:
            return
        for values in self._figures.values():
            values.append(_NAN)
        self._places[span.id] = len(self._ended)
        self._not_final.add(span.id)
        self._ended.append(span)
        result = span.result(wait=self.wait_seconds)
        if result is not None:
            self._arrived(span, result)
            if logs is not None:
                logs.update({name: values[-1] for name, values in self._figures.items()})

    def finish(self, history: dict[str, list[Any]] | None) -> None:
        """The training is over: `history` has one value an epoch from here on, NaN for what is not known yet."""
        self._spans.end()  # of an epoch that an exception or a stop left open
        for span in self._ended:
            result = span.result(wait=self.wait_seconds)
            if result is not None:
                self._arrived(span, result)
        if history is not None and self._ended:
            history.update(self._figures)  # the lists themselves: what comes later is seen
        self._over = True
        self._leave()

    def _leave(self) -> None:
        """Listen no more once nothing can come: a search makes thousands of trainings in one process."""
        if not SESSION.server or not self._not_final:
            SESSION.remove_listener(self._arrived)

    def _arrived(self, span: TrackedSpan, result: Result) -> None:
        place = self._places.get(span.id)
        if place is not None:
            for name, (field, divisor) in _FIGURES.items():
                value = getattr(result, field)
                if value is not None:
                    self._figures[name][place] = value / divisor
        if result.state == "final":
            self._not_final.discard(span.id)  # what the span itself knows may not have come here yet
        if self._over:
            self._leave()


def _class() -> type:
    import keras

    class CarbonCallback(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
        """A span for each epoch; see EpochFigures for `wait_seconds`. What fails in it is shown once, never raised."""

        def __init__(self, wait_seconds: float = 0.0, name: str = "epoch") -> None:
            super().__init__()
            self.figures = EpochFigures(wait_seconds, name)

        def on_train_begin(self, logs: Any = None) -> None:
            _guarded(self.figures.start, (self.params or {}).get("epochs"))

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            _guarded(self.figures.begin, epoch)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            _guarded(self.figures.end, logs)

        def on_train_end(self, logs: Any = None) -> None:
            history = getattr(self.model, "history", None)
            _guarded(self.figures.finish, getattr(history, "history", None))

    CarbonCallback.__qualname__ = "CarbonCallback"  # so that it is found where it is unpickled
    return CarbonCallback


def _guarded(call: Any, *args: Any) -> None:
    try:
        call(*args)
    except Exception as error:
        notice_error("the Keras callback", error)


def __getattr__(name: str) -> Any:
    if name != "CarbonCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = _class()
    return globals()[name]
