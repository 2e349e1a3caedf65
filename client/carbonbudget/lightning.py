"""Lightning: a span for each epoch, without code. Trainers find the callback by the entry points of this package.

`Trainer(callbacks=[carbon_callback()])` does the same by hand. Lightning is imported when it asks, or by
`carbon_callback`.
"""

from __future__ import annotations

import sys
from importlib import import_module

from carbonbudget.client_notices import safely
from carbonbudget.client_settings import ClientSettings
from carbonbudget.epoch_spans import EpochSpans, follow_trackers
from carbonbudget.step_spans import StepSpans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class LightningHooks:
    """The methods that a Trainer calls, without its base class.

    `every_steps` is after how many optimizer steps a span called `steps` ends; there are none of epochs then. Without
    it a training of one epoch, or with `max_steps`, has such spans of about a minute. 0: spans of epochs in any case.
    """

    package: str | None = None

    def __init__(self, name: str = "epoch", every_steps: int | None = None) -> None:
        self._spans, self._steps = EpochSpans(name), StepSpans(every_steps)
        self._every_steps = every_steps
        self._by_steps = False
        self._total_steps: int | None = None

    def __reduce__(self) -> Any:
        # Trainers are sent to processes that they spawn: the class is made there again.
        return carbon_callback, (self.package, self._spans.name, self._every_steps)

    @safely
    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Loggers have begun their runs here."""
        if not self._records(trainer):
            return
        follow_trackers()
        _enter_mlflow_run(trainer)
        epochs, steps = trainer.max_epochs or 0, getattr(trainer, "max_steps", -1) or -1  # -1: no end
        self._spans.total = max(epochs, 0)
        self._by_steps = (epochs == 1 or steps > 0) if self._every_steps is None else self._every_steps > 0
        if self._by_steps:
            self._total_steps = _total_steps(trainer)
            self._steps.begin(int(trainer.global_step))

    @safely
    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """`current_epoch` goes on where a checkpoint was resumed."""
        if self._records(trainer) and not self._by_steps:
            self._spans.begin(int(trainer.current_epoch))

    @safely
    def on_train_batch_end(self, trainer: Any, module: Any, *batch: Any) -> None:
        """`global_step` counts optimizer steps: with gradient accumulation it stays the same for some batches."""
        if self._by_steps:
            self._steps.step_done(int(trainer.global_step), self._total_steps)

    @safely
    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """Validation runs before this: it is inside the epoch."""
        self._spans.done()

    @safely
    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        """Also at Ctrl-C, which Lightning treats as a stop."""
        self._spans.end()
        self._steps.end()
        _leave_mlflow_run()

    @safely
    def on_fit_end(self, trainer: Any, module: Any) -> None:
        """A stop in the middle of an epoch leaves no span open."""
        self._spans.end()
        self._steps.end(self._total_steps)
        _leave_mlflow_run()

    def _records(self, trainer: Any) -> bool:
        """Whether this callback is the pod's: of one that is given and one that is found, and of ranks, the first."""
        ours = next((each for each in getattr(trainer, "callbacks", ()) if isinstance(each, LightningHooks)), self)
        # Processes that a Trainer spawns have no LOCAL_RANK.
        return ours is self and not getattr(trainer, "local_rank", 0)


def _total_steps(trainer: Any) -> int | None:
    """How many optimizer steps the training has; None if that is unknown."""
    try:
        # The smaller one of `max_steps` and the epochs' batches; infinite where there is neither.
        return int(trainer.estimated_stepping_batches)
    except Exception:  # an older Lightning, or a loader without a length
        steps = getattr(trainer, "max_steps", None)
        return steps if isinstance(steps, int) and steps > 0 else None


@safely
def _enter_mlflow_run(trainer: Any) -> None:
    """MLFlowLogger makes its run by a client of its own, so that MLflow has no active run."""
    for logger in getattr(trainer, "loggers", None) or ():
        if any(kind.__name__ == "MLFlowLogger" for kind in type(logger).__mro__) and logger.run_id:
            follow_trackers()  # the logger may have imported MLflow just now
            import_module("carbonbudget.mlflow").enter_run(logger.run_id, logger.experiment)
            return


def _leave_mlflow_run() -> None:
    ours = sys.modules.get("carbonbudget.mlflow")
    if ours is not None:
        ours.leave_run()


def carbon_callback(package: str | None = None, name: str = "epoch", every_steps: int | None = None) -> Any:
    """The callback for `lightning.pytorch` or `pytorch_lightning`; without `package`, for the one that is imported.

    `every_steps`: spans of so many optimizer steps instead of epochs; see LightningHooks.
    """
    package = package or next((each for each in _PACKAGES if each in sys.modules), _PACKAGES[0])
    base = import_module(package).Callback
    named = {"__doc__": LightningHooks.__doc__, "package": package}
    return type("CarbonCallback", (LightningHooks, base), named)(name, every_steps)


def lightning_callbacks() -> list[Any]:
    """What a Trainer of `lightning.pytorch` adds by itself."""
    return _added("lightning.pytorch")


def pytorch_lightning_callbacks() -> list[Any]:
    """What a Trainer of `pytorch_lightning` adds by itself."""
    return _added("pytorch_lightning")


@safely
def _callback(package: str) -> Any:
    # Nothing is added where nothing is tracked: every Trainer of the environment asks.
    return carbon_callback(package) if ClientSettings().records else None


def _added(package: str) -> list[Any]:
    callback = _callback(package)
    return [] if callback is None else [callback]
