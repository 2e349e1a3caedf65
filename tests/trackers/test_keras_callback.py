"""The callback of Keras: its epochs, their figures in the history, and no listener that is left after a training."""

from __future__ import annotations

import pickle
import sys
from types import ModuleType, SimpleNamespace

import pytest
from tests.trackers.spans_by_hand import FINAL, FOUND, StandInCallback

import carbonbudget.keras
from carbonbudget.epoch_spans import EpochSpans
from carbonbudget.keras import EpochFigures
from carbonbudget.tracked_span import TrackedSpan, current_spans
from carbonbudget.tracking_session import SESSION, TrackingSession

pytestmark = pytest.mark.usefixtures("nothing_recorded")


def test_an_epoch_that_was_left_open_ends_where_the_next_begins() -> None:
    spans = EpochSpans()
    spans.begin(0)
    first = current_spans()[-1]
    spans.begin(1)
    spans.total = 2
    second = spans.done()
    assert (first.end_ms is not None, second.step, spans.end(), current_spans()) == (True, 1, None, ())


def test_trainings_of_keras_that_are_over_and_known_leave_no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(SESSION.listeners)
    figures = EpochFigures()

    def fit() -> TrackedSpan:
        figures.start(1)
        figures.begin(0)
        trained = current_spans()[-1]
        figures.end({})
        figures.finish({})
        return trained

    fit()
    assert SESSION.listeners == before  # nothing is sent, and nothing can come
    monkeypatch.setattr(TrackingSession, "server", True)
    trained = fit()
    for result in (FOUND, FINAL):
        assert len(SESSION.listeners) == len(before) + 1
        trained.known_result = result
        SESSION.tell([(trained, result)])
    assert SESSION.listeners == before


def test_figures_of_several_epochs_that_come_at_once_after_the_end_all_reach_the_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The spans know them all before the first listener is told of the first one."""
    monkeypatch.setattr(TrackingSession, "server", True)
    before, figures, spans, history = list(SESSION.listeners), EpochFigures(), [], {}
    figures.start(3)
    for epoch in range(3):
        figures.begin(epoch)
        spans.append(current_spans()[-1])
        figures.end({})
    figures.finish(history)
    for span in spans:
        span.known_result = FINAL
    for span in spans:  # one after the other, as its own thread tells each listener
        for listener in list(SESSION.listeners):
            listener(span, FINAL)
    assert history["carbon/co2e_g"] == [FINAL.co2e_g] * 3
    assert SESSION.listeners == before


def test_the_callback_of_keras_can_be_sent_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = ModuleType("keras")
    stub.callbacks = SimpleNamespace(Callback=StandInCallback)
    monkeypatch.setitem(sys.modules, "keras", stub)
    monkeypatch.setitem(vars(carbonbudget.keras), "CarbonCallback", None)  # the class of the stub is undone as well
    monkeypatch.delitem(vars(carbonbudget.keras), "CarbonCallback")
    sent = pickle.loads(pickle.dumps(carbonbudget.keras.CarbonCallback(name="pass")))
    assert isinstance(sent, StandInCallback)
    sent.on_epoch_begin(0)
    assert current_spans()[-1].name == "pass"
    sent.figures.finish(None)
