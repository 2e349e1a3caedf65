"""The spans of a framework's callback: one at a time, closed also where the framework leaves in the middle."""

from __future__ import annotations

import sys
from importlib import import_module

from carbonbudget.client_notices import safely
from carbonbudget.span_tracking import track
from carbonbudget.tracking_session import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carbonbudget.tracked_span import TrackedSpan

_TRACKERS = {"mlflow": "mlflow", "wandb": "wandb", "comet_ml": "comet"}


class EpochSpans:
    """A span for each epoch of one training. No method raises."""

    def __init__(self, name: str = "epoch") -> None:
        self.total: int | None = None  # epochs of this training, where the framework says so
        self.name = name
        self._open: TrackedSpan | None = None

    @safely
    def begin(self, step: int) -> None:
        """An epoch begins; one that is open ends here."""
        self.end()
        self._open = track(self.name, step).start()

    @safely
    def end(self) -> TrackedSpan | None:
        """The epoch ends. Its span, or None if none is open."""
        span, self._open = self._open, None
        if span is not None:
            span.end()
        return span

    @safely
    def cancel(self) -> None:
        """The epoch that is open is forgotten."""
        span, self._open = self._open, None
        if span is not None:
            span.cancel()

    @safely
    def done(self) -> TrackedSpan | None:
        """The epoch ends and is complete: it counts as progress, from which the server predicts the rest."""
        span = self.end()
        if span is not None and span.step is not None and self.total:
            SESSION.progress(span.step + 1, max(self.total, span.step + 1), self.name)
        return span


@safely
def follow_trackers() -> None:
    """Log to each tracker that this process has imported: a training that uses none pays for none."""
    for library, module in _TRACKERS.items():
        if library in sys.modules:
            import_module(f"carbonbudget.{module}").follow()
