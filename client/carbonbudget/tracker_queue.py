"""Figures that wait for a tracker: a bounded queue, and the one thread that calls the tracker to write them."""

from __future__ import annotations

import os
import queue
import threading
import time

from carbonbudget.client_notices import notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    Write = Callable[..., object]
    Entry = tuple[Any, Any, Any]  # the tracker's run, the span, its result

_MOST_QUEUED = 1_000
_AGAIN_S = 0.2


class TrackerQueue:
    """Figures on their way to one kind of tracker. `write(run, span, result)` may take its time.

    If it returns False, the tracker cannot take the figures now: they are tried again, and others meanwhile.
    """

    def __init__(self, tracker: str, write: Write) -> None:
        self._tracker, self._write = tracker, write
        self._process = 0
        self._queue: queue.Queue[Entry] = queue.Queue()
        self.finishing = False  # somebody waits for the end: nothing more comes from the training itself

    def put(self, entry: Entry, lock: threading.RLock) -> None:
        """Queue figures; `lock` is held while the thread is started, also in a forked child, which has none."""
        with lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                self._queue = queue.Queue(_MOST_QUEUED)
                threading.Thread(
                    target=self._write_all, args=(self._queue,), name=f"carbonbudget-{self._tracker}", daemon=True
                ).start()
        try:
            self._queue.put_nowait(entry)
        except queue.Full:
            notice(f"{self._tracker} full", f"{self._tracker} is too slow: figures of some spans are not logged there.")

    def wait(self, seconds: float) -> bool:
        """Whether all that came was written within `seconds`."""
        if self._process != os.getpid():
            return True  # nothing came in this process; in a forked child the queue is the parent's
        with self._queue.all_tasks_done:
            return self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks, seconds)

    def finish(self, seconds: float) -> bool:
        """As `wait`, at the end of a training or of the process."""
        self.finishing = True
        try:
            return self.wait(seconds)
        finally:
            self.finishing = False

    def _write_all(self, entries: queue.Queue[Entry]) -> None:
        held: list[Entry] = []  # in order
        while True:
            try:
                if len(held) < _MOST_QUEUED:
                    held.append(entries.get(timeout=_AGAIN_S if held else None))
                else:
                    time.sleep(_AGAIN_S)  # the bound counts what is held too
            except queue.Empty:
                pass
            kept: list[Entry] = []
            refused: set[tuple[int, object]] = set()
            for run, span, result in held:
                # The figures of a name stay in order: the final ones of a span come after the provisional ones.
                of = id(run), span.name
                if of in refused or not self._is_written(run, span, result):
                    refused.add(of)
                    kept.append((run, span, result))
                else:
                    entries.task_done()
            held = kept

    def _is_written(self, run: Any, span: Any, result: Any) -> bool:
        """Also where it failed: it is not tried again."""
        try:
            return self._write(run, span, result) is not False
        except BaseException as error:  # also SystemExit of a tracker: this thread is ours
            notice(self._tracker, f"{self._tracker} does not take a span's figures ({_line(error)}); going on.")
            return True


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
