"""The callback of Lightning: where a trainer gets it, and the spans of its epochs, from hooks that we call."""

from __future__ import annotations

import copy
import pickle
import sys
from types import ModuleType, SimpleNamespace

import pytest
from tests.trackers.spans_by_hand import StandInCallback

from carbonbudget.lightning import carbon_callback, lightning_callbacks
from carbonbudget.tracked_span import current_spans

pytestmark = pytest.mark.usefixtures("nothing_recorded")


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lightning.pytorch")
    module.Callback = StandInCallback
    monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", module)


def test_lightnings_trainer_gets_a_callback_only_where_spans_are_recorded(
    lightning: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lightning_callbacks() == []
    monkeypatch.setenv("CARBONBUDGET_SERVER_URL", "https://server")
    (callback,) = lightning_callbacks()
    assert isinstance(callback, StandInCallback)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert lightning_callbacks() == []


def test_the_factory_gives_nothing_where_lightning_cannot_be_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CARBONBUDGET_SERVER_URL", "https://server")
    assert lightning_callbacks() == []


def test_the_hooks_of_lightning_make_a_span_of_each_epoch_also_where_it_fails(
    lightning: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARBONBUDGET_SERVER_URL", "https://server")
    (callback,) = lightning_callbacks()
    trainer, spans = SimpleNamespace(current_epoch=4, max_epochs=6), []
    callback.on_train_start(trainer, None)
    callback.on_train_epoch_start(trainer, None)
    spans.append(current_spans()[-1])
    callback.on_train_epoch_end(trainer, None)
    trainer.current_epoch = 5
    callback.on_train_epoch_start(trainer, None)
    spans.append(current_spans()[-1])
    callback.on_exception(trainer, None, KeyboardInterrupt())
    assert [(each.name, each.step, each.end_ms is not None) for each in spans] == [
        ("epoch", 4, True),
        ("epoch", 5, True),
    ]
    callback.on_train_epoch_start(None, None)  # a trainer without what is expected: said, not raised


def epochs_of(callbacks: list[object], **trainer: object) -> list[int | None]:
    """The steps of the spans that one epoch of a trainer with these callbacks has open."""
    running = SimpleNamespace(current_epoch=4, max_epochs=6, callbacks=callbacks, **trainer)
    for hook in ("on_train_start", "on_train_epoch_start"):
        for each in callbacks:
            getattr(each, hook)(running, None)
    steps = [each.step for each in current_spans()]
    for each in callbacks:
        each.on_train_epoch_end(running, None)
    return steps


def test_a_trainer_that_spawns_processes_sends_the_callback_to_them(
    lightning: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARBONBUDGET_SERVER_URL", "https://server")
    (callback,) = lightning_callbacks()
    for sent in (pickle.loads(pickle.dumps(callback)), copy.deepcopy(callback)):
        assert isinstance(sent, StandInCallback)
        assert epochs_of([sent]) == [4]


def test_a_callback_by_hand_and_one_by_the_entry_point_make_one_span_an_epoch(
    lightning: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARBONBUDGET_SERVER_URL", "https://server")
    assert epochs_of([carbon_callback(), *lightning_callbacks()]) == [4]


def test_of_the_processes_that_a_trainer_spawns_one_makes_spans(lightning: None) -> None:
    """They have no LOCAL_RANK; their trainer knows it."""
    assert epochs_of([carbon_callback()], local_rank=1) == []
    assert epochs_of([carbon_callback()], local_rank=0) == [4]
