"""Hugging Face's Trainer: `trainer.add_callback(CarbonCallback())`, a span for each epoch, or for many steps.

The figures go to the trackers that the process uses, not into the Trainer's logs: its reporters run before the
callbacks of users. transformers is imported when `CarbonCallback` is first asked for.
"""

from __future__ import annotations

import math

from carbonbudget.client_notices import safely
from carbonbudget.epoch_spans import EpochSpans, follow_trackers
from carbonbudget.step_spans import StepSpans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class HuggingFaceHooks:
    """The methods that the Trainer calls, without its base class.

    `every_steps` is after how many optimizer steps a span called `steps` ends; there are none of epochs then. Without
    it a training of one epoch, or with `max_steps`, has such spans of about a minute. 0: spans of epochs in any case.
    """

    def __init__(self, name: str = "epoch", every_steps: int | None = None) -> None:
        self._spans, self._steps = EpochSpans(name), StepSpans(every_steps)
        self._every_steps = every_steps
        self._by_steps = False
        self._epoch = 0  # the next one, from 0

    @safely
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Reporters have begun their runs here. `state.epoch` is 1.7 if a checkpoint inside epoch 1 is resumed."""
        # After an error the Trainer does not call on_train_end; `auto_find_batch_size` then begins anew.
        self._spans.end()
        self._steps.end()
        follow_trackers()
        self._epoch = int(state.epoch or 0)
        is_short = math.ceil(state.num_train_epochs or 0) == 1 or (getattr(args, "max_steps", 0) or 0) > 0
        self._by_steps = is_short if self._every_steps is None else self._every_steps > 0
        if self._by_steps:
            self._steps.begin(int(state.global_step or 0))

    @safely
    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The epochs are counted here: after one that a callback cut short, and after one over a dataset without a
        length, `state.epoch` is not the number of the next.
        """
        if not self._by_steps:
            self._spans.begin(self._epoch)
        self._epoch += 1

    @safely
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """An optimizer step is done. An evaluation or checkpoint after it is in the next span."""
        if self._by_steps:
            self._steps.step_done(int(state.global_step), state.max_steps or None)

    @safely
    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The span ends before an evaluation or checkpoint of the strategy `epoch`, which are not of the epoch."""
        self._spans.total = _total_epochs(state, self._epoch)
        self._spans.done()

    @safely
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A stop in the middle of an epoch leaves no span open."""
        self._spans.end()
        self._steps.end(state.max_steps or None)


def _total_epochs(state: Any, done: int) -> int:
    """How many epochs the training has in all, when so many are done; 0 if that is unknown."""
    epochs, max_steps = math.ceil(state.num_train_epochs or 0), state.max_steps
    if not max_steps or epochs <= max_steps:
        return epochs
    # The dataset has no length: the Trainer states 2**63 - 1 epochs and stops at `max_steps`. The next epochs are taken
    # to have as many steps as those that are done.
    return math.ceil(max_steps * done / state.global_step) if state.global_step else 0


def __getattr__(name: str) -> Any:
    if name != "CarbonCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from transformers import TrainerCallback

    made = type(name, (HuggingFaceHooks, TrainerCallback), {"__doc__": "Spans of epochs, or of many steps."})
    globals()[name] = made
    return made
