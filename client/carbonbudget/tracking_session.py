"""The session: the one object of a process that records spans. It is renewed by `init` and in a forked child."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import threading
import time
from collections import deque

from carbonbudget.client_notices import notice, notice_error
from carbonbudget.client_settings import ClientSettings
from carbonbudget.unit_counts import UnitCounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Callable

    from carbonbudget.cpu_counter import CpuCounter
    from carbonbudget.delivery_thread import DeliveryThread
    from carbonbudget.span_results import Result
    from carbonbudget.tracked_span import TrackedSpan

    Listener = Callable[[TrackedSpan, Result], object]
    PredictionListener = Callable[[dict[str, Any] | None], object]

_MOST_QUEUED = 5_000
_WAKE_AT = 1_000
_EXIT_S = 1.6  # 2 s at most, on a busy machine too
_SAVE_S = 0.1  # for the log, where the thread waits for a server
_IMPORT_S = 2.0
_LONGEST_NAME = 250


class TrackingSession:
    """What this process has recorded and the thread has not taken yet."""

    def __init__(self) -> None:
        self.process = 0  # grows by one in each forked child
        self._given: tuple[str | None, str | None, str | None] = (None, None, None)
        self.start_anew()

    def start_anew(self) -> None:
        """In a new process: what the parent recorded is the parent's to send, and its thread does not exist here."""
        self.process += 1
        self.queue: deque[TrackedSpan] = deque(maxlen=_MOST_QUEUED)
        self.dropped = 0
        self.listeners: list[Listener] = []
        self.prediction_listeners: list[PredictionListener] = []
        # Of each tracker: waits up to some seconds until it has what arrived, and returns whether it has.
        self.tracker_waits: list[Callable[[float], bool]] = []
        # The progress to send: who gets the prediction in the answer, and the body of the request.
        self.newest_progress: tuple[PredictionListener | None, dict[str, object]] | None = None
        self.named: tuple[str | None, str | None, str | None] = (None, None, None)
        self.recording = False
        self._settings: ClientSettings | None = None
        self._cpu: CpuCounter | None = None
        # The CPU time of the container so far in microseconds; None where nothing is recorded.
        self.read_cpu_us: Callable[[], int | None] = self._first_cpu_us
        self._thread: DeliveryThread | None = None
        self._previous: DeliveryThread | None = None  # of another place, before `init`
        self._starting = threading.Lock()
        self._prefix = os.urandom(6).hex()
        self._numbers = itertools.count()
        self.units = UnitCounts(time.time_ns() // 1_000_000)
        self._exit_until_s: float | None = None

    def init(self, run: str | None, model: str | None, version: str | None) -> None:
        """Read the environment; what is given here has precedence, also in forked children."""
        self._given = (run, model, version)
        settings = ClientSettings()
        self.named = (_text(run or settings.run), _text(model or settings.model), _text(version or settings.version))
        previous, self._settings = self._settings, settings
        if previous is not None and self._thread is not None and not settings.same_place(previous):
            # The old thread sends what was queued for the old place.
            self._thread.end()
            self._previous, self._thread, self.queue = self._thread, None, deque(maxlen=_MOST_QUEUED)
            self.units = UnitCounts(time.time_ns() // 1_000_000)
        self.recording, self.read_cpu_us = settings.records, self._first_cpu_us
        if settings.forgotten:
            notice("nowhere", "nothing is tracked: neither CARBONBUDGET_SERVER_URL nor CARBONBUDGET_LOG is set")

    @property
    def server(self) -> bool:
        """Whether spans go to a server."""
        return self.recording and self._settings is not None and bool(self._settings.server_url)

    def begin(self) -> str:
        """The identifier of a new span."""
        if self._thread is None:
            self._begin_recording()
        return self.identifier()

    def _begin_recording(self) -> None:
        if self._settings is None:
            self.init(*self._given)
        if self.recording and self._thread is None:
            self._start_thread()

    def _first_cpu_us(self) -> int | None:
        """Open the counter. From then on spans call it directly: each call on the way costs them a microsecond."""
        if not self.recording:
            return None
        if self._cpu is None:
            from carbonbudget.cpu_counter import CpuCounter, counter_file

            self._cpu = CpuCounter(counter_file())
        self.read_cpu_us = self._cpu.read_us
        return self._cpu.read_us()

    def record(self, span: TrackedSpan) -> None:
        """Queue a span that has ended. Waits for nothing; when the queue is full the oldest span makes room."""
        if not self.recording:
            return
        queue = self.queue
        if len(queue) >= _WAKE_AT:
            self.dropped += len(queue) == _MOST_QUEUED
            if self._thread is not None:
                self._thread.wake()
        queue.append(span)

    def count_units(self, counts: Mapping[str, float]) -> None:
        """Count functional units; the thread takes the sums. Waits for nothing."""
        if self._thread is None:
            self._begin_recording()
        from carbonbudget.span_encoding import printable_name, unit_count

        for name, count in counts.items():
            try:
                number = unit_count(count)
            except (TypeError, ValueError, OverflowError) as error:
                notice_error("units", error)
                continue
            if self.recording:
                self.units.add(self.named, printable_name(name), number)

    def identifier(self) -> str:
        """A new identifier of a span or a count: no other one of this run has it."""
        return f"{self._prefix}-{next(self._numbers)}"

    def progress(self, done: int, total: int, unit: str, asker: PredictionListener | None = None) -> None:
        """Let the thread send the progress; only the newest counts. `asker` is told of the prediction."""
        self._begin_recording()
        if not self.server:
            self.predict(asker, None)
            return
        now_ms = time.time_ns() // 1_000_000
        # Woken once: the thread returns by itself as long as there is progress to send.
        is_first = self.newest_progress is None
        # The server takes the spans of this name as the steps.
        from carbonbudget.span_encoding import printable_name

        named = printable_name(unit)
        self.newest_progress = asker, {"done": int(done), "total": int(total), "unit": named, "at_ms": now_ms}
        if is_first and self._thread is not None:
            self._thread.wake()

    def add_listener(self, listener: Listener) -> None:
        """Tell this one too."""
        if listener not in self.listeners:
            self.listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Tell this one no more."""
        if listener in self.listeners:
            self.listeners.remove(listener)

    def predict(self, asker: PredictionListener | None, prediction: dict[str, Any] | None) -> None:
        """A prediction, or that there is none now, to who asked and to the listeners."""
        for listener in (asker, *self.prediction_listeners):
            try:
                if listener is not None:
                    listener(prediction)
            except Exception as error:
                notice_error("a listener of predictions", error)

    def tell(self, results: Iterable[tuple[TrackedSpan, Result]]) -> None:
        """Results to the listeners. Called by the library's thread."""
        for span, result in results:
            for listener in list(self.listeners):
                try:
                    listener(span, result)
                except Exception as error:
                    notice_error("a listener", error)

    def flush(self, seconds: float) -> bool:
        """Send what is queued and wait for it up to `seconds`. Whether nothing is left."""
        if self._thread is None and self._holds_any:
            self._start_thread()
        return self._thread.flush(seconds) if self._thread is not None else not self._holds_any

    @property
    def _holds_any(self) -> bool:
        return bool(self.queue) or not self.units.empty

    def want(self, span: TrackedSpan, soon: bool = False) -> None:
        """Ask the server for the result of this span."""
        delivery = self._thread.delivery if self._thread is not None else None
        if delivery is not None and delivery.server is not None and self.server:
            delivery.server.results.want(span, soon)

    def result(self, span: TrackedSpan, wait: float) -> Result | None:
        """What is known of a span; waits up to `wait` seconds for the first of it."""
        thread = self._thread
        if thread is None or not self.server or span.end_ms is None:
            return span.known_result
        self.want(span, soon=True)
        if wait > 0 and span.known_result is None and threading.current_thread() is not thread.thread:
            until_s = time.monotonic() + wait
            thread.flush(min(wait, 2.0))
            while span.known_result is None and (rest_s := until_s - time.monotonic()) > 0 and thread.thread.is_alive():
                if thread.delivery is not None and thread.delivery.server is not None:
                    results = thread.delivery.server.results
                    is_new = results.want(span, soon=True)
                    if results.hurry() or is_new:
                        thread.wake()
                thread.wait_for_a_turn(min(rest_s, 1.0))
        return span.known_result

    def wait_results(self, seconds: float) -> bool:
        """Wait up to `seconds` until the spans that somebody listens for have a result and the trackers have it."""
        until_s = time.monotonic() + seconds
        self.flush(seconds)
        thread = self._thread
        server = thread.delivery.server if thread is not None and thread.delivery is not None else None
        if thread is not None and server is not None and threading.current_thread() is not thread.thread:
            while server.results.without_result and time.monotonic() < until_s and thread.thread.is_alive():
                if server.results.hurry():
                    thread.wake()
                thread.wait_for_a_turn(min(until_s - time.monotonic(), 1.0))
            # Afterwards listeners were called with every result that had arrived.
            self.flush(until_s - time.monotonic())
        has_results = server is None or not server.results.without_result
        return self._wait_trackers(until_s) and has_results

    def _wait_trackers(self, until_s: float) -> bool:
        """Whether all trackers have all of their figures. Each is waited for, also after one that has not."""
        has_all = [wait(max(0.0, until_s - time.monotonic())) for wait in list(self.tracker_waits)]
        return all(has_all)

    def at_exit(self) -> None:
        """Send the rest, and let the trackers take what arrived; at most 2 s, then it is lost (the log file has it).

        Called more than once where multiprocessing is imported: all calls together have this time.
        """
        try:
            if self._exit_until_s is None:
                self._exit_until_s = time.monotonic() + _EXIT_S
            until_s = self._exit_until_s
            if self._thread is None and self._holds_any:
                self._start_thread()
            for thread in filter(None, (self._thread, self._previous)):
                thread.flush(until_s - time.monotonic())
                if thread.delivery is not None:
                    thread.delivery.save(_SAVE_S, units=True)
            self._wait_trackers(until_s)
        except Exception as error:
            notice_error("the end of the process", error)

    def before_fork(self) -> None:
        """A child must not inherit the lock of a module that the thread is importing: it would wait for it for ever."""
        if self._thread is not None:
            self._thread.imported.wait(_IMPORT_S)

    def _start_thread(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # another thread is starting it
        try:
            if self._thread is None and self._settings is not None:
                from carbonbudget.delivery_thread import DeliveryThread

                thread = DeliveryThread(self, self._settings)
                thread.thread.start()
                self._thread = thread
                if "multiprocessing.util" in sys.modules:
                    # Its children leave by os._exit, which calls no atexit function.
                    sys.modules["multiprocessing.util"].Finalize(None, self.at_exit, exitpriority=0)
        except RuntimeError:
            pass  # the interpreter ends, or no further thread is allowed: the queue is bounded
        finally:
            self._starting.release()


def _text(value: object) -> str | None:
    """A name that the server accepts."""
    text = "" if value is None else str(value)[:_LONGEST_NAME]
    return "".join(letter if letter.isprintable() else " " for letter in text).strip() or None


SESSION = TrackingSession()
atexit.register(SESSION.at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=SESSION.before_fork, after_in_child=SESSION.start_anew)
