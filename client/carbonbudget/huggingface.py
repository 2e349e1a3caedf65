"""Hugging Face's Trainer: `trainer.add_callback(CarbonCallback())`, a span for each epoch.

The figures go to the trackers that the process uses, not into the Trainer's logs: its reporters run before the
callbacks of users. transformers is imported when `CarbonCallback` is first asked for.
"""

from __future__ import annotations

import math

from carbonbudget.client_notices import safely
from carbonbudget.epoch_spans import EpochSpans, follow_trackers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class HuggingFaceHooks:
    """The methods that the Trainer calls, without its base class."""

    def __init__(self, name: str = "epoch") -> None:
        self._spans = EpochSpans(name)

    @safely
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Reporters have begun their runs here."""
        follow_trackers()
        self._spans.total = math.ceil(state.num_train_epochs or 0)

    @safely
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """`state.epoch` is a fraction, and goes on where a checkpoint was resumed."""
        self._spans.begin(round(state.epoch or 0))

    @safely
    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The span ends before evaluation and saving, which are not of the epoch."""
        self._spans.done()

    @safely
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A stop in the middle of an epoch leaves no span open."""
        self._spans.end()


def __getattr__(name: str) -> Any:
    if name != "CarbonCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from transformers import TrainerCallback

    made = type(name, (HuggingFaceHooks, TrainerCallback), {"__doc__": "A span for each epoch of a Trainer."})
    globals()[name] = made
    return made
