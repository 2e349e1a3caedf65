"""The spans and progress of Hugging Face's Trainer, from a stand-in that counts as the one of transformers 5.24.0."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from carbonbudget import init, span_starts
from carbonbudget.huggingface import HuggingFaceHooks
from carbonbudget.tracked_span import TrackedSpan, current_spans
from carbonbudget.tracking_session import TrackingSession

STEPS = 10  # of an epoch
Stop = Callable[[int], str | None]


class StandInTrainer:
    """The loop of `Trainer.train`: its hooks, and its state at each. `length` is None where the dataset has none."""

    def __init__(
        self, hooks: HuggingFaceHooks, length: int | None = STEPS, max_steps: int = 3 * STEPS, given: bool = False
    ) -> None:
        # -1: the user gave epochs, from which the Trainer made `state.max_steps`.
        self.given_max_steps = max_steps if given or length is None else -1
        self.hooks, self.length, self.max_steps = hooks, length, max_steps
        epochs = -(-max_steps // length) if length else sys.maxsize
        self.state = SimpleNamespace(epoch=0, global_step=0, max_steps=max_steps, num_train_epochs=epochs)
        self.control = SimpleNamespace(should_training_stop=False)

    def call(self, hook: str) -> None:
        getattr(self.hooks, hook)(SimpleNamespace(max_steps=self.given_max_steps), self.state, self.control, model=None)

    def train(self, stop: Stop = lambda step: None) -> None:
        """Train from the state on. After a step `stop` names what ends there: `epoch`, `training` or `error`."""
        skipped = self.state.global_step % (self.length or self.max_steps)
        first = self.state.global_step // (self.length or self.max_steps)
        self.control.should_training_stop = False
        self.call("on_train_begin")
        for epoch in range(first, self.state.num_train_epochs):
            self.call("on_epoch_begin")
            self._train_epoch(epoch, skipped if epoch == first else 0, stop)
            self.call("on_epoch_end")
            if self.control.should_training_stop:
                break
        self.call("on_train_end")

    def _train_epoch(self, epoch: int, skipped: int, stop: Stop) -> None:
        for step in range(skipped, STEPS):
            self.state.global_step += 1
            self.state.epoch = epoch + (step + 1) / (self.length or self.max_steps)
            self.call("on_step_end")
            ends = stop(self.state.global_step)
            if ends == "error":
                raise RuntimeError("CUDA out of memory")
            if ends == "training" or self.state.global_step >= self.max_steps:
                self.control.should_training_stop = True
            if ends or self.control.should_training_stop:
                return


def at(step: int, ends: str) -> Stop:
    return lambda done: ends if done == step else None


@pytest.fixture(autouse=True)
def _nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARBONBUDGET_DISABLED", "1")
    init()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> list[TrackedSpan]:
    found: list[TrackedSpan] = []
    monkeypatch.setattr(span_starts, "START_LISTENERS", [found.append])
    return found


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    found: list[tuple[int, int]] = []

    def kept(session: TrackingSession, done: int, total: int, *more: Any) -> None:
        found.append((done, total))

    monkeypatch.setattr(TrackingSession, "progress", kept)
    yield found
    assert current_spans() == ()


THREE = [(1, 3), (2, 3), (3, 3)]


def steps(spans: list[TrackedSpan]) -> list[int | None]:
    assert all(each.name == "epoch" and each.end_ms is not None for each in spans)
    return [each.step for each in spans]


@pytest.mark.parametrize("max_steps", [30, 25])
def test_each_epoch_has_a_span_and_counts_as_progress(
    spans: list[TrackedSpan], progress: list[tuple[int, int]], max_steps: int
) -> None:
    StandInTrainer(HuggingFaceHooks(), max_steps=max_steps).train()
    assert (steps(spans), progress) == ([0, 1, 2], THREE)


def test_passes_over_a_dataset_without_a_length_are_numbered_and_their_total_follows_from_the_steps(
    spans: list[TrackedSpan], progress: list[tuple[int, int]]
) -> None:
    StandInTrainer(HuggingFaceHooks(every_steps=0), length=None, max_steps=25).train()
    assert (steps(spans), progress) == ([0, 1, 2], THREE)


@pytest.mark.parametrize("step", [3, 6, 14, 20, 27])
def test_a_training_that_is_resumed_goes_on_in_the_epoch_of_its_checkpoint(
    spans: list[TrackedSpan], progress: list[tuple[int, int]], step: int
) -> None:
    stopped = StandInTrainer(HuggingFaceHooks())
    stopped.train(at(step, "training"))
    before, resumed = len(spans), StandInTrainer(HuggingFaceHooks())
    resumed.state.epoch, resumed.state.global_step = stopped.state.epoch, stopped.state.global_step
    resumed.train()
    rest = [0, 1, 2][step // STEPS :]
    assert steps(spans)[before:] == rest
    assert progress[before:] == [THREE[epoch] for epoch in rest]


def test_the_epoch_after_one_that_was_cut_short_has_a_number_of_its_own(
    spans: list[TrackedSpan], progress: list[tuple[int, int]]
) -> None:
    StandInTrainer(HuggingFaceHooks()).train(at(4, "epoch"))
    assert (steps(spans), progress) == ([0, 1, 2], THREE)


def test_a_second_training_with_the_same_callback_counts_from_the_beginning(
    spans: list[TrackedSpan], progress: list[tuple[int, int]]
) -> None:
    hooks = HuggingFaceHooks()
    StandInTrainer(hooks, max_steps=20).train()
    StandInTrainer(hooks).train()
    assert (steps(spans), progress) == ([0, 1, 0, 1, 2], [(1, 2), (2, 2), *THREE])


def test_an_epoch_that_an_error_left_open_is_closed_before_the_trainer_begins_anew(
    spans: list[TrackedSpan], progress: list[tuple[int, int]]
) -> None:
    hooks = HuggingFaceHooks()
    with pytest.raises(RuntimeError, match="memory"):
        StandInTrainer(hooks).train(at(14, "error"))
    assert current_spans() == (spans[-1],)
    again = StandInTrainer(hooks)
    again.call("on_train_begin")
    assert current_spans() == ()
    again.train()
    assert (steps(spans), progress) == ([0, 1, 0, 1, 2], [(1, 3), *THREE])
