"""Results and predictions on their way to the tracker's run. One that fails or hangs costs the training nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from tests.trackers.spans_by_hand import FINAL, FOUND, ended_span

import carbonbudget.tracker_log
from carbonbudget import span_starts, track, tracker_queue
from carbonbudget.span_results import Result
from carbonbudget.tracked_span import TrackedSpan
from carbonbudget.tracker_log import TrackerLog, metrics

pytestmark = pytest.mark.usefixtures("nothing_recorded")


def test_a_result_goes_to_the_run_that_was_active_when_the_span_began() -> None:
    runs, written = ["first"], []
    log = TrackerLog("T", lambda: runs[-1], lambda run, span, result: written.append((run, result.state)))
    of_first = ended_span()
    log.started(of_first)
    runs.append("second")
    log.log_result(of_first, FOUND)
    log.log_result(of_first, FINAL)
    log.log_result(of_first, FINAL)  # it is forgotten after its final result
    assert log.wait(10)
    assert written == [("first", "provisional"), ("first", "final")]


def test_an_epoch_of_more_steps_than_are_kept_still_goes_to_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carbonbudget.tracker_log, "_MOST_SPANS", 10)
    written = []
    log = TrackerLog("T", lambda: "run", lambda run, span, result: written.append(span.name))
    epoch = ended_span()
    log.started(epoch)
    for step in range(50):
        log.started(ended_span("step", step))
    log.log_result(epoch, FOUND)
    assert log.wait(10)
    assert written == ["epoch"]
    assert len(log._runs) == 10


@pytest.mark.parametrize("error", [RuntimeError("away"), SystemExit(70), KeyboardInterrupt()])
def test_what_a_tracker_raises_is_said_once_and_the_next_result_is_written(
    error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    written = []

    def write(run: object, span: TrackedSpan, result: Result) -> None:
        if span.name == "bad":
            raise error
        written.append(span.name)

    log = TrackerLog("T", lambda: "run", write)
    for name in ("bad", "bad", "good"):
        each = ended_span(name)
        log.started(each)
        log.log_result(each, FOUND)
    assert log.wait(10)
    assert written == ["good"]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_figures_that_a_tracker_cannot_take_yet_are_written_later_in_order_and_others_meanwhile() -> None:
    """As W&B, whose row takes one figure of a name."""
    written: list[tuple[str, int]] = []
    row: set[str] = set()
    evaluated, final = threading.Event(), threading.Event()

    def write(run: str, span: TrackedSpan, result: Result) -> bool:
        if span.name in row:
            return False
        row.add(span.name)
        written.append((span.name, span.step))
        evaluated.set() if span.name == "evaluate" else None
        final.set() if span.step == 2 else None
        return True

    log = TrackerLog("T", lambda: "run", write)
    for name, step in (("epoch", 0), ("epoch", 1), ("epoch", 2), ("evaluate", 9)):
        each = ended_span(name, step)
        log.started(each)
        log.log_result(each, FOUND)
    assert evaluated.wait(10)
    assert written == [("epoch", 0), ("evaluate", 9)]
    assert not log.wait(0)
    until = time.monotonic() + 10
    while not final.is_set() and time.monotonic() < until:
        row.clear()
        final.wait(0.05)
    assert log.wait(10)
    assert written[2:] == [("epoch", 1), ("epoch", 2)]


def test_a_tracker_that_hangs_delays_nobody_and_what_does_not_fit_is_dropped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker_queue, "_MOST_QUEUED", 3)
    going_on, written = threading.Event(), []

    def write(run: object, span: TrackedSpan, result: Result) -> None:
        going_on.wait(30)
        written.append(span.id)

    log = TrackerLog("T", lambda: "run", write)
    started = time.monotonic()
    for _ in range(50):
        each = ended_span()
        log.started(each)
        log.log_result(each, FOUND)
    assert time.monotonic() - started < 5
    going_on.set()
    assert log.wait(10)
    assert 3 <= len(written) <= 4
    assert capsys.readouterr().err.splitlines() == [
        "carbonbudget: T is too slow: figures of some spans are not logged there."
    ]


def test_a_tracker_that_cannot_name_its_run_does_not_reach_the_training(capsys: pytest.CaptureFixture[str]) -> None:
    def active() -> object:
        raise RuntimeError("no such thing")

    span_starts.add_start_listener(TrackerLog("T", active, lambda *args: None).started)
    with track("epoch") as inside:
        pass
    assert inside.end_ms is not None
    assert "no such thing" in capsys.readouterr().err


def test_a_child_that_was_forked_while_a_result_arrived_goes_on() -> None:
    code = """
        import os, threading
        from carbonbudget import track
        from carbonbudget.tracker_log import TrackerLog
        log = TrackerLog("T", lambda: "run", print)
        log.follow()
        held, ended = threading.Event(), threading.Event()
        def hold():
            with log._lock:
                held.set()
                ended.wait()
        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        child = os.fork()
        if child == 0:
            with track("epoch"):
                os._exit(0)
        print(os.waitpid(child, 0)[1])
    """
    environment = {"CARBONBUDGET_DISABLED": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, timeout=30,
        check=True,
    )  # fmt: skip
    assert done.stdout == "0\n"


def test_a_signal_handler_may_begin_a_span_while_one_begins() -> None:
    def active() -> str:
        if not inside:
            inside.append(ended_span())
            signal.raise_signal(signal.SIGUSR1)
        return "run"

    inside: list[TrackedSpan] = []
    log = TrackerLog("T", active, lambda *args: None)
    before = signal.signal(signal.SIGUSR1, lambda *args: log.started(ended_span()))
    try:
        with log._lock:
            log.started(ended_span())
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_prediction_goes_to_the_newest_run_at_its_step() -> None:
    written = []

    def write(run: str, span: TrackedSpan, result: Result) -> None:
        written.append((run, span.step, metrics(span, result)))

    log = TrackerLog("T", lambda: "run", write)
    log.log_prediction({"energy_uj": 3_600_000_000_000})  # nothing was tracked
    log.started(ended_span(step=4))
    log.log_prediction(None)
    log.log_prediction({"energy_uj": 7_200_000_000_000, "emissions_ug": 9_000_000, "state": "provisional"})
    assert log.wait(10)
    assert written == [("run", 4, {"carbon/predicted/energy_kwh": 2.0, "carbon/predicted/co2e_g": 9.0})]


def test_a_prediction_does_not_go_to_a_run_that_ended_before_the_newest_span_of_its_thread() -> None:
    written: list[str] = []
    runs: list[str | None] = ["first"]
    log = TrackerLog("T", lambda: runs[-1], lambda run, span, result: written.append(run))
    log.started(ended_span())
    runs.append(None)
    other = threading.Thread(target=log.started, args=(ended_span(),))  # MLflow's active run is that of a thread
    other.start()
    other.join()
    log.log_prediction({"energy_uj": 1})
    assert log.wait(10)
    assert written == ["first"]
    log.started(ended_span())
    log.log_prediction({"energy_uj": 2})
    runs.append("second")
    log.started(ended_span())
    log.log_prediction({"energy_uj": 3})
    assert log.wait(10)
    assert written == ["first", "second"]


def test_metric_names_hold_what_every_tracker_takes_and_unknown_figures_are_left_out() -> None:
    assert metrics(ended_span("träin/<b>"), FOUND) == {
        "carbon/tr_in__b_/energy_kwh": 1.0,
        "carbon/tr_in__b_/co2e_g": 5.0,
    }
    # The names of the whole run have one part less: no span can have them.
    assert all(name.count("/") == 2 for name in metrics(ended_span("co2e_g"), FINAL))
