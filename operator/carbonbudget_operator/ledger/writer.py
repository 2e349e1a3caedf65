"""The ledger's writer: one thread that books queued reports in batches, one commit for each batch.

A sender gets its answer after the commit that holds its report. The queue holds unread bodies and this thread parses
them, because a report is then still in the processor's caches when it is booked. Parsing each at arrival costs half as
much again (docs/design/2026-11-25-ingest.md).
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable

import sqlalchemy as sa

from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker, BookingResult, CheckedReport
from carbonbudget_operator.ledger.cuts import new_cuts
from carbonbudget_operator.ledger.ledger_engine import LedgerError, reason_of, silence
from carbonbudget_operator.ledger.read_only_database import AWAY
from carbonbudget_operator.ledger.report_bounds import MAX_ROWS, weight
from carbonbudget_operator.ledger.selected_labels import Asked, StoredLabels
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.write_locks import AdvisoryLock, write_transaction

_log = logging.getLogger(__name__)
_MAX_BATCH = 200
_MAX_QUEUE = 2_000
# Reading an ordinary batch takes 0.05 s. Large, invented reports must not delay its commit for longer than this.
_READ_SECONDS = 0.25
_ANSWER_SECONDS = 20.0  # an agent waits 30 s for an answer, and must receive the reason

_Booked = tuple[CheckedReport, BookingResult]


class LedgerBusy(Exception):
    """The queue is full. The agent keeps its report and sends it again."""


class _QueuedReport:
    """One report in the writer: how to read it, the report once it is read, and the answer that its sender awaits."""

    __slots__ = ("answer", "future", "read", "report")

    def __init__(self, read: Callable[[], CheckedReport], future: asyncio.Future[_Booked]) -> None:
        self.read, self.future = read, future
        self.report: CheckedReport
        self.answer: _Booked | Exception

    def try_read(self) -> bool:
        """Whether it could be read; if not, `answer` is what was raised.

        The exception loses its traceback, which refers to every frame on its way, and so to the report's bytes.
        """
        try:
            self.report = self.read()
            return True
        except BaseException as error:  # nothing may end the thread; a future accepts no StopIteration
            error.__traceback__ = error.__context__ = None
            usable = isinstance(error, Exception) and not isinstance(error, StopIteration)
            self.answer = error if usable and isinstance(error, Exception) else RuntimeError(repr(error))
            return False


class LedgerWriter:
    """Commits reports in batches."""

    def __init__(
        self,
        engine: sa.Engine,
        max_label_values: int = 10_000,
        max_node_watts: int = 20_000,
        max_tracked_pods: int = 500,
    ) -> None:
        self._engine = engine
        self._booker = Booker(engine, max_label_values, max_node_watts, max_tracked_pods)
        self._queue: queue.Queue[_QueuedReport | None] = queue.Queue(_MAX_QUEUE)
        self._lock = threading.Lock()  # one transaction at a time: SQLite has one writer
        self._failing = False
        self.ids, self.selected_labels = self._booker.ids, self._booker.selected_labels
        self.tracked = self._booker.tracked
        self._logged_caps: set[str] = set()
        self._stored_labels = StoredLabels(engine.dialect, self.selected_labels)
        self.commit_seconds = 0.0
        self.batches = 0
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    async def book(self, read: Callable[[], CheckedReport]) -> _Booked:
        """Book the report that `read` returns. Returns the report and the result after the commit that holds it.

        The writer's thread calls `read`. An exception of `read` is raised here, without its traceback.

        Raises:
            LedgerBusy: the queue is full.
            LedgerError: the database rejected the transaction and nothing was stored; or it does not answer, and a
                report that was stored nevertheless is a duplicate when it is sent again.
        """
        future: asyncio.Future[_Booked] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_QueuedReport(read, future))
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await future
        except TimeoutError:
            raise silence(self._engine) from None
        except queue.Full:
            raise LedgerBusy("too many reports wait for the ledger") from None
        finally:
            del future  # it may refer to an exception that refers to this frame

    def close(self) -> None:
        """Commit the queued reports, then end the thread."""
        self._queue.put(None)
        self._thread.join()

    def add_cuts(self, wanted: Collection[tuple[str, int]], now: int) -> None:
        """Split the facts of these namespaces at these instants from now on, as far as `new_cuts` allows."""
        with self._engine.connect() as connection:  # mostly there is no new cut, and then no report is delayed
            if not new_cuts(connection, wanted, now):
                return
        with self._lock, write_transaction(self._engine, AdvisoryLock.BOOKINGS) as connection:
            made = new_cuts(connection, wanted, now)
            if made:
                connection.execute(sa.insert(schema.cut), [{"at": at, "namespace": name} for at, name in made])
                # Readers of open hours must read the ends of their slices again.
                self._booker.touch(connection, {hour for at, _ in made if (hour := at - at % HOUR) <= now})

    def select_labels(self, asked: Iterable[Asked], now: int) -> None:
        """Store the labels that budgets select by, here and in the ledger for the other servers. `now` is UTC seconds.

        Raises SQLAlchemyError; then the next call stores them.
        """
        news = self.selected_labels.news(asked, now)
        if not news:
            return
        with self._lock, write_transaction(self._engine) as connection:
            self._stored_labels.store(connection, news)
        gone = self.selected_labels.take(news)
        if gone:
            with self._lock, write_transaction(self._engine) as connection:
                self._stored_labels.remove(connection, gone)

    def load_selected_labels(self, now: int) -> None:
        """Load the labels that budgets select by from the ledger: before the first report is booked, and each minute.

        Raises SQLAlchemyError.
        """
        with self._engine.connect() as connection:
            self._stored_labels.load(connection, now)
            expired = self._stored_labels.has_expired(connection, now)
        if expired:
            with self._lock, write_transaction(self._engine) as connection:
                self._stored_labels.drop_expired(connection, now)

    def load_tracked_pods(self, now: int) -> None:
        """Load which pods posted a span to any server: before the first report is booked, and each minute.

        Logs each namespace once that has more tracked pods than are stored. Raises SQLAlchemyError.
        """
        with self._engine.connect() as connection:
            self.tracked.load(connection, now)
        for namespace in sorted(set(self.tracked.capped_namespaces) - self._logged_caps):
            self._logged_caps.add(namespace)
            _log.warning(
                "namespace %s has more than %d tracked pods: the others' spans get hourly figures "
                "(server.spans.pods_per_namespace)",
                namespace,
                self.tracked.most,
            )

    def _run(self) -> None:
        while True:
            batch, ended = self._next_batch()
            if batch:
                self._commit(batch)
            if ended:
                return

    def _next_batch(self) -> tuple[list[_QueuedReport], bool]:
        """Read the queued reports and answer the ones that cannot be read. Returns the others, and whether to end."""
        batch: list[_QueuedReport] = []
        refused: list[_QueuedReport] = []
        rows = 0
        queued = self._queue.get()
        until = time.monotonic() + _READ_SECONDS
        while queued is not None:
            if queued.try_read():
                batch.append(queued)
                rows += weight(queued.report.report)
            else:
                refused.append(queued)
            if len(batch) + len(refused) == _MAX_BATCH or rows >= MAX_ROWS or time.monotonic() >= until:
                break
            try:
                queued = self._queue.get_nowait()
            except queue.Empty:
                break
        _answer(refused)
        return batch, queued is None

    def _commit(self, batch: list[_QueuedReport]) -> None:
        began = time.monotonic()
        try:
            with self._lock:
                results = self._booker.book([queued.report for queued in batch])
        # Trying each report by itself would take as long again for each.
        except AWAY as error:
            reason = reason_of(error)
            if not self._failing:  # once, until it works again
                _log.error("ledger: %s: reports are refused with 503 and stay with the agents", reason)
            self._failing = True
            self._refuse(batch, reason)
            return
        except Exception as error:
            # A report that the database cannot store must neither end this thread nor keep others from being stored.
            if len(batch) > 1:
                for queued in batch:
                    self._commit([queued])
                return
            reason = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
            _log.error("ledger: report of %s not stored: %s", batch[0].report.report.node, reason)
            self._refuse(batch, reason)
            return
        self._failing = False
        self.commit_seconds += time.monotonic() - began
        self.batches += 1
        for queued, result in zip(batch, results, strict=True):
            queued.answer = queued.report, result
        _answer(batch)

    @staticmethod
    def _refuse(batch: list[_QueuedReport], reason: str) -> None:
        for queued in batch:
            queued.answer = LedgerError(f"the ledger cannot store: {reason}")
        _answer(batch)


def _answer(reports: list[_QueuedReport]) -> None:
    """Answer the senders from the writer's thread, all of one event loop together: waking a loop is what costs."""
    loops: dict[asyncio.AbstractEventLoop, list[_QueuedReport]] = {}
    for queued in reports:
        loops.setdefault(queued.future.get_loop(), []).append(queued)
    for loop, its in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, its)
        except RuntimeError:
            pass  # the loop has ended; what was committed stays committed


def _resolve(reports: list[_QueuedReport]) -> None:
    for queued in reports:
        if queued.future.done():  # the sender went away
            continue
        if isinstance(queued.answer, Exception):
            queued.future.set_exception(queued.answer)
        else:
            queued.future.set_result(queued.answer)
