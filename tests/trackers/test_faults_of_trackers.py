"""A tracker that fails, hangs or ends the process costs the training nothing; without a pod nothing is written."""

from __future__ import annotations

import copy
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from tests.trackers.conftest import pod_token

import carbonbudget.keras
import carbonbudget.tracker_log
from carbonbudget import client_notices, init, span_starts, track
from carbonbudget.epoch_spans import EpochSpans
from carbonbudget.keras import EpochFigures
from carbonbudget.lightning import carbon_callback, lightning_callbacks
from carbonbudget.mlflow import RunContext
from carbonbudget.span_results import Result
from carbonbudget.tracked_span import TrackedSpan, current_spans
from carbonbudget.tracker_identity import tracker_identity
from carbonbudget.tracker_log import TrackerLog, metrics
from carbonbudget.tracking_session import SESSION, TrackingSession

FOUND = Result({"energy_uj": 3_600_000_000_000, "emissions_ug": 5_000_000, "state": "provisional"})
FINAL = Result({"energy_uj": 3_600_000_000_000, "emissions_ug": 6_000_000, "state": "final"})


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_notices, "_shown", set())
    monkeypatch.setattr(span_starts, "START_LISTENERS", [])
    for name in ("SERVER_URL", "LOG", "RUN", "NAMESPACE"):
        monkeypatch.delenv(f"CARBONBUDGET_{name}", raising=False)
    monkeypatch.setenv("CARBONBUDGET_TOKEN_FILE", "/nowhere")
    monkeypatch.setenv("CARBONBUDGET_DISABLED", "1")
    init()  # the session of this process records nothing, whatever a test sets
    monkeypatch.delenv("CARBONBUDGET_DISABLED")


def span(name: str = "epoch", step: int | None = 3) -> TrackedSpan:
    opened = track(name, step).start()
    opened.end()
    return opened


def test_a_result_goes_to_the_run_that_was_active_when_the_span_began() -> None:
    runs, written = ["first"], []
    log = TrackerLog("T", lambda: runs[-1], lambda run, span, result: written.append((run, result.state)))
    of_first = span()
    log.started(of_first)
    runs.append("second")
    log.log_result(of_first, FOUND)
    log.log_result(of_first, FINAL)
    log.log_result(of_first, FINAL)  # it is forgotten after its final result
    assert log.wait(10)
    assert written == [("first", "provisional"), ("first", "final")]


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
        each = span(name)
        log.started(each)
        log.log_result(each, FOUND)
    assert log.wait(10)
    assert written == ["good"]
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_tracker_that_hangs_delays_nobody_and_what_does_not_fit_is_dropped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carbonbudget.tracker_log, "_MOST_QUEUED", 3)
    going_on, written = threading.Event(), []

    def write(run: object, span: TrackedSpan, result: Result) -> None:
        going_on.wait(30)
        written.append(span.id)

    log = TrackerLog("T", lambda: "run", write)
    started = time.monotonic()
    for _ in range(50):
        each = span()
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
            inside.append(span())
            signal.raise_signal(signal.SIGUSR1)
        return "run"

    inside: list[TrackedSpan] = []
    log = TrackerLog("T", active, lambda *args: None)
    before = signal.signal(signal.SIGUSR1, lambda *args: log.started(span()))
    try:
        with log._lock:
            log.started(span())
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_prediction_goes_to_the_newest_run_at_its_step() -> None:
    written = []

    def write(run: str, span: TrackedSpan, result: Result) -> None:
        written.append((run, span.step, metrics(span, result)))

    log = TrackerLog("T", lambda: "run", write)
    log.log_prediction({"energy_uj": 3_600_000_000_000})  # nothing was tracked
    log.started(span(step=4))
    log.log_prediction(None)
    log.log_prediction({"energy_uj": 7_200_000_000_000, "emissions_ug": 9_000_000, "state": "provisional"})
    assert log.wait(10)
    assert written == [("run", 4, {"carbon/predicted/energy_kwh": 2.0, "carbon/predicted/co2e_g": 9.0})]


def test_a_prediction_does_not_go_to_a_run_that_ended_before_the_newest_span_of_its_thread() -> None:
    written: list[str] = []
    runs: list[str | None] = ["first"]
    log = TrackerLog("T", lambda: runs[-1], lambda run, span, result: written.append(run))
    log.started(span())
    runs.append(None)
    other = threading.Thread(target=log.started, args=(span(),))  # MLflow's active run is that of a thread
    other.start()
    other.join()
    log.log_prediction({"energy_uj": 1})
    assert log.wait(10)
    assert written == ["first"]
    log.started(span())
    log.log_prediction({"energy_uj": 2})
    runs.append("second")
    log.started(span())
    log.log_prediction({"energy_uj": 3})
    assert log.wait(10)
    assert written == ["first", "second"]


def test_metric_names_hold_what_every_tracker_takes_and_unknown_figures_are_left_out() -> None:
    assert metrics(span("träin/<b>"), FOUND) == {"carbon/tr_in__b_/energy_kwh": 1.0, "carbon/tr_in__b_/co2e_g": 5.0}
    # The names of the whole run have one part less: no span can have them.
    assert all(name.count("/") == 2 for name in metrics(span("co2e_g"), FINAL))


def test_the_pods_own_token_says_who_it_is_whatever_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(pod_token())
    environment = {"CARBONBUDGET_TOKEN_FILE": str(tmp_path / "token"), "CARBONBUDGET_NAMESPACE": "team-b"}
    found = tracker_identity({**environment, "CARBONBUDGET_RUN": "exp-42", "CARBONBUDGET_JOB": "train"})
    assert found == {
        "namespace": "team-a", "pod": "train-0", "pod_uid": "1111-2222", "run": "exp-42", "job": "train",
    }  # fmt: skip
    assert tracker_identity({**environment, "CARBONBUDGET_DISABLED": "1"}) == {}


@pytest.mark.parametrize("text", ["", "a.b.c", "e30.e30.e30", "\xff", pod_token(pod=None), pod_token(namespace=7)])
def test_a_token_that_cannot_be_read_gives_no_identity(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_bytes(text.encode("latin-1"))
    assert tracker_identity({"CARBONBUDGET_TOKEN_FILE": str(tmp_path / "token")}) == {}


def test_outside_a_pod_mlflow_gets_no_tags() -> None:
    assert RunContext().in_context() is False
    assert RunContext().tags() == {}


def test_an_epoch_that_was_left_open_ends_where_the_next_begins() -> None:
    spans = EpochSpans()
    spans.begin(0)
    first = current_spans()[-1]
    spans.begin(1)
    spans.total = 2
    second = spans.done()
    assert (first.end_ms is not None, second.step, spans.end(), current_spans()) == (True, 1, None, ())


def test_the_frameworks_find_us_by_entry_points() -> None:
    for group in (
        "mlflow.run_context_provider",
        "lightning.pytorch.callbacks_factory",
        "pytorch_lightning.callbacks_factory",
    ):
        found = metadata.entry_points(group=group, name="carbonbudget")
        assert all(callable(each.load()) for each in found), group
        assert found, group


class HooksOfLightning:
    """Stands for `lightning.pytorch.Callback`: Lightning needs torch, which is not installed for the tests."""


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("lightning.pytorch")
    module.Callback = HooksOfLightning
    monkeypatch.setitem(sys.modules, "lightning", ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", module)


def test_lightnings_trainer_gets_a_callback_only_where_spans_are_recorded(
    lightning: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lightning_callbacks() == []
    monkeypatch.setenv("CARBONBUDGET_SERVER_URL", "https://server")
    (callback,) = lightning_callbacks()
    assert isinstance(callback, HooksOfLightning)
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
        assert isinstance(sent, HooksOfLightning)
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
    stub.callbacks = SimpleNamespace(Callback=HooksOfLightning)
    monkeypatch.setitem(sys.modules, "keras", stub)
    monkeypatch.setitem(vars(carbonbudget.keras), "CarbonCallback", None)  # the class of the stub is undone as well
    monkeypatch.delitem(vars(carbonbudget.keras), "CarbonCallback")
    sent = pickle.loads(pickle.dumps(carbonbudget.keras.CarbonCallback(name="pass")))
    assert isinstance(sent, HooksOfLightning)
    sent.on_epoch_begin(0)
    assert current_spans()[-1].name == "pass"
    sent.figures.finish(None)


def test_no_module_imports_its_framework_when_it_is_imported(trackers_python: Path) -> None:
    ours = ("mlflow", "wandb", "comet", "keras", "huggingface", "lightning", "bridge.bridge_command")
    theirs = ("mlflow", "wandb", "comet_ml", "keras", "transformers", "jax", "numpy", "urllib3")
    code = (
        f"import sys, importlib\nfor name in {ours!r}: importlib.import_module('carbonbudget.' + name)\n"
        f"print([name for name in {theirs!r} if name in sys.modules])"
    )
    done = subprocess.run([trackers_python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
