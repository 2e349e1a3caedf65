"""Spans of optimizer steps: of trainings of one epoch or of `max_steps`, by Hugging Face's Trainer and by Lightning."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from tests.trackers.spans_by_hand import StandInCallback
from tests.trackers.test_trainer_epochs import StandInTrainer, at

from carbonbudget import init, span_starts, step_spans
from carbonbudget.huggingface import HuggingFaceHooks
from carbonbudget.lightning import carbon_callback
from carbonbudget.step_spans import StepSpans
from carbonbudget.tracked_span import TrackedSpan, current_spans
from carbonbudget.tracking_session import TrackingSession


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`spans` that began, `progress` that was reported, and a clock that only the test moves: `s`."""
    monkeypatch.setenv("CARBONBUDGET_DISABLED", "1")
    init()
    found = SimpleNamespace(spans=[], progress=[], s=0.0)
    monkeypatch.setattr(span_starts, "START_LISTENERS", [found.spans.append])
    monkeypatch.setattr(step_spans, "time", SimpleNamespace(monotonic=lambda: found.s))

    def kept(session: TrackingSession, done: int, total: int, *more: Any) -> None:
        found.progress.append((done, total, *more))

    monkeypatch.setattr(TrackingSession, "progress", kept)
    yield found
    assert current_spans() == ()


def began(spans: list[TrackedSpan]) -> list[tuple[str, int | None]]:
    assert all(each.end_ms is not None for each in spans)
    return [(each.name, each.step) for each in spans]


def steps_from(*numbers: int) -> list[tuple[str, int]]:
    return [("steps", number) for number in numbers]


def test_a_span_is_of_so_many_steps_and_counts_as_progress(seen: Any) -> None:
    StandInTrainer(HuggingFaceHooks(every_steps=8), max_steps=30).train()
    assert began(seen.spans) == steps_from(0, 8, 16, 24)
    assert seen.progress == [(number, 4, "steps") for number in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("trainer", "by_steps"),
    [
        ({"max_steps": 10}, True),  # one epoch
        ({"max_steps": 30, "given": True}, True),
        ({"max_steps": 25, "length": None}, True),
        ({"max_steps": 30}, False),
    ],
)
def test_one_epoch_or_max_steps_has_spans_of_steps_and_several_epochs_have_spans_of_epochs(
    seen: Any, trainer: dict[str, Any], by_steps: bool
) -> None:
    StandInTrainer(HuggingFaceHooks(), **trainer).train()
    assert {each.name for each in seen.spans} == ({"steps"} if by_steps else {"epoch"})


def test_without_a_number_a_span_has_as_many_steps_as_take_a_minute(seen: Any) -> None:
    """Steps of 0.5 s, and the first one of 40 s, which does not count."""
    spans = StepSpans()
    spans.begin(0)
    for step in range(1, 1_001):
        seen.s += 40 if step == 1 else 0.5
        spans.step_done(step, 1_000)
        spans.step_done(step, 1_000)
    spans.end(1_000)
    assert began(seen.spans) == steps_from(0, *range(121, 1_000, 120))
    assert seen.progress == [(number, 9, "steps") for number in range(1, 10)]


def test_steps_that_take_longer_than_a_minute_have_a_span_each(seen: Any) -> None:
    spans = StepSpans()
    spans.begin(0)
    for step in range(1, 6):
        seen.s += 300
        spans.step_done(step, 5)
    spans.end(5)
    assert began(seen.spans) == steps_from(0, 2, 3, 4)
    assert seen.progress == [(1, 4, "steps"), (2, 4, "steps"), (3, 4, "steps"), (4, 4, "steps")]


def test_a_training_that_is_resumed_goes_on_with_its_numbers(seen: Any) -> None:
    trainer = StandInTrainer(HuggingFaceHooks(every_steps=5), max_steps=20, given=True)
    trainer.state.global_step, trainer.state.epoch = 10, 1.0
    trainer.train()
    assert began(seen.spans) == steps_from(10, 15)
    assert seen.progress == [(3, 4, "steps"), (4, 4, "steps")]


def test_a_stop_and_an_error_leave_no_span_open_and_none_without_a_step(seen: Any) -> None:
    hooks = HuggingFaceHooks(every_steps=10)
    StandInTrainer(hooks).train(at(20, "training"))
    assert began(seen.spans)[:2] == steps_from(0, 10)
    assert seen.progress[-1] == (2, 3, "steps")
    with pytest.raises(RuntimeError, match="memory"):
        StandInTrainer(hooks).train(at(14, "error"))
    StandInTrainer(hooks).call("on_train_begin")
    StandInTrainer(hooks).call("on_train_end")
    assert current_spans() == ()


def test_without_a_known_number_of_steps_there_is_no_progress(seen: Any) -> None:
    spans = StepSpans(2)
    spans.begin(0)
    for step in (1, 2, 3):
        spans.step_done(step, None)
    spans.end()
    assert (began(seen.spans), seen.progress) == (steps_from(0, 2), [])
    spans.step_done(4, None)  # no training is on
    assert len(seen.spans) == 2


class StandInLightning:
    """The loop of Lightning's Trainer with gradient accumulation over two batches."""

    def __init__(self, **given: Any) -> None:
        self.__dict__ |= {"max_epochs": 1, "max_steps": -1, "estimated_stepping_batches": 12, **given}
        self.global_step = self.current_epoch = 0

    def fit(self, callback: Any, batches: int = 24) -> None:
        self.callbacks = [callback]
        callback.on_train_start(self, None)
        callback.on_train_epoch_start(self, None)
        for batch in range(batches):
            self.global_step += batch % 2
            callback.on_train_batch_end(self, None, None, None, batch)
        callback.on_train_epoch_end(self, None)
        callback.on_fit_end(self, None)


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lightning.pytorch")
    module.Callback = StandInCallback  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", module)


@pytest.mark.parametrize(
    "given", [{"max_epochs": 1}, {"max_epochs": -1, "max_steps": 12}, {"max_epochs": 9, "max_steps": 12}]
)
def test_lightnings_callback_counts_optimizer_steps(seen: Any, lightning: None, given: dict[str, int]) -> None:
    StandInLightning(**given).fit(carbon_callback(every_steps=5))
    assert began(seen.spans) == steps_from(0, 5, 10)
    assert seen.progress == [(1, 3, "steps"), (2, 3, "steps"), (3, 3, "steps")]
    seen.spans.clear()
    StandInLightning(**given).fit(carbon_callback())
    assert began(seen.spans) == steps_from(0)
    seen.spans.clear()
    StandInLightning(**given).fit(carbon_callback(every_steps=0))
    assert began(seen.spans) == [("epoch", 0)]


def test_lightnings_number_of_steps_may_be_unknown(seen: Any, lightning: None) -> None:
    StandInLightning(max_steps=12, estimated_stepping_batches=float("inf")).fit(carbon_callback(every_steps=5))
    assert seen.progress == [(1, 3, "steps"), (2, 3, "steps"), (3, 3, "steps")]
    seen.progress.clear()
    StandInLightning(estimated_stepping_batches=float("inf")).fit(carbon_callback(every_steps=5))
    assert seen.progress == []


def test_a_callback_that_is_sent_to_another_process_keeps_its_number_of_steps(seen: Any, lightning: None) -> None:
    made, arguments = carbon_callback(every_steps=5).__reduce__()
    StandInLightning().fit(made(*arguments))
    assert began(seen.spans) == steps_from(0, 5, 10)
