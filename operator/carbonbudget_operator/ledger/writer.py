"""The one writer's thread: reports queue up, a batch is one commit, each is answered after its commit.

They queue as they came and are read by this thread: what a report is made of is still in the processor's caches when
it is booked, and a batch of them is read by code that is. Read one by one as they come, with a few milliseconds of
other work between them, each costs half as much again (docs/design/2026-11-25-ingest.md).
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
from carbonbudget_operator.ledger.booking import Booker, BookingResult, CheckedReport, lock_bookings
from carbonbudget_operator.ledger.cuts import new_cuts
from carbonbudget_operator.ledger.report_bounds import MAX_ROWS, weight
from carbonbudget_operator.ledger.selected_labels import Asked, SelectedLabels, StoredLabels
from carbonbudget_operator.ledger.slices import HOUR
from carbonbudget_operator.ledger.store import LedgerError, reason_of, silence

_log = logging.getLogger(__name__)
_MAX_BATCH = 200
_MAX_QUEUE = 2_000
# To read an honest batch takes some 0.05 s; what is large and made up must not keep it from its commit.
_READ_SECONDS = 0.25
_ANSWER_SECONDS = 20.0  # an agent gives a report 30 s, and must learn why it waited

_Fate = tuple[CheckedReport, BookingResult]
_Read = Callable[[], CheckedReport]
_Asked = tuple[_Read, "asyncio.Future[_Fate]"]
_Item = tuple[CheckedReport, "asyncio.Future[_Fate]"]
_Answer = tuple["asyncio.Future[_Fate]", _Fate | Exception]


class LedgerBusy(Exception):
    """The queue is full: the agent keeps its report and tries again."""


class LedgerWriter:
    """Commits reports in batches."""

    def __init__(self, engine: sa.Engine, max_label_values: int = 10_000, max_node_watts: int = 20_000) -> None:
        self._engine = engine
        self._booker = Booker(engine, max_label_values, max_node_watts)
        self._queue: queue.Queue[_Asked | None] = queue.Queue(_MAX_QUEUE)
        self._lock = threading.Lock()  # one transaction at a time: SQLite has one writer
        self._failing = False
        self._stored_labels = StoredLabels(engine.dialect, self._booker.selected_labels)
        self.commit_seconds = 0.0
        self.batches = 0
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    async def book(self, read: _Read) -> _Fate:
        """Book the report that `read` gives; returns after the commit that holds it.

        `read` is called by the writer's thread, one after the other; what it raises is raised here, without its way.

        Raises:
            LedgerBusy: too many wait.
            LedgerError: the database refused, and nothing was stored; or it does not answer, and what may have been
                stored is a duplicate when it is sent again.
        """
        future: asyncio.Future[_Fate] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((read, future))
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await future
        except TimeoutError:
            raise silence(self._engine) from None
        except queue.Full:
            raise LedgerBusy("too many reports wait for the ledger") from None
        finally:
            del future  # it may hold an exception that holds this frame

    @property
    def labels_collapsed(self) -> int:
        """Label values that were made one since the start."""
        return self._booker.labels_collapsed

    @property
    def selected_labels(self) -> SelectedLabels:
        """What budgets select by: the bound on labels leaves it alone."""
        return self._booker.selected_labels

    @property
    def owners_left_out(self) -> int:
        """Pods since the start whose controller no object in Kubernetes can be."""
        return self._booker.owners_left_out

    def close(self) -> None:
        """Commit what waits, then end."""
        self._queue.put(None)
        self._thread.join()

    def add_cuts(self, wanted: Collection[tuple[str, int]], now: int) -> None:
        """Split facts of these namespaces at these instants from here on, as far as `new_cuts` says."""
        with self._engine.connect() as connection:  # mostly all are there, or cannot be: reports need not wait then
            if not new_cuts(connection, wanted, now):
                return
        with self._lock, self._engine.begin() as connection:
            lock_bookings(connection)
            made = new_cuts(connection, wanted, now)
            if made:
                connection.execute(sa.insert(schema.cut), [{"at": at, "namespace": name} for at, name in made])
                # What is made of hours that are open reads their slices' ends anew.
                self._booker.touch(connection, {hour for at, _ in made if (hour := at - at % HOUR) <= now})

    def select_labels(self, asked: Iterable[Asked], now: int) -> None:
        """Keep the labels that budgets select by, here and in the ledger for the other servers. `now` is UTC seconds.

        Raises SQLAlchemyError: then they are new again at the next call.
        """
        news = self.selected_labels.news(asked, now)
        if not news:
            return
        with self._lock, self._engine.begin() as connection:
            self._stored_labels.store(connection, news)
        gone = self.selected_labels.take(news)
        if gone:
            with self._lock, self._engine.begin() as connection:
                self._stored_labels.remove(connection, gone)

    def load_selected_labels(self, now: int) -> None:
        """Learn what budgets select by from the ledger: before the first report is booked, and each minute.

        Raises SQLAlchemyError.
        """
        with self._engine.connect() as connection:
            self._stored_labels.load(connection, now)
            expired = self._stored_labels.has_expired(connection, now)
        if expired:
            with self._lock, self._engine.begin() as connection:
                self._stored_labels.drop_expired(connection, now)

    def _run(self) -> None:
        while True:
            batch, ended = self._next_batch()
            if batch:
                self._commit(batch)
            if ended:
                return

    def _next_batch(self) -> tuple[list[_Item], bool]:
        """What waits, read; who is refused by that is told. And whether it was the last."""
        batch: list[_Item] = []
        refused: list[_Answer] = []
        rows = 0
        asked = self._queue.get()
        until = time.monotonic() + _READ_SECONDS
        while asked is not None:
            read, future = asked
            arrival = _attempt(read)
            if isinstance(arrival, Exception):
                refused.append((future, arrival))
            else:
                batch.append((arrival, future))
                rows += weight(arrival.report)
            if len(batch) + len(refused) == _MAX_BATCH or rows >= MAX_ROWS or time.monotonic() >= until:
                break
            try:
                asked = self._queue.get_nowait()
            except queue.Empty:
                break
        _tell(refused)
        return batch, asked is None

    def _commit(self, batch: list[_Item]) -> None:
        began = time.monotonic()
        try:
            with self._lock:
                fates = self._booker.book([arrival for arrival, _ in batch])
        # The database itself: full, locked, away. Or all connections are in use: each report tried by itself would
        # wait for one as long.
        except (sa.exc.OperationalError, sa.exc.TimeoutError) as error:
            reason = reason_of(error)
            if not self._failing:  # once, until it works again
                _log.error("ledger: %s: reports are refused with 503 and stay with the agents", reason)
            self._failing = True
            self._refuse(batch, reason)
            return
        except Exception as error:
            # One report that the database cannot take must neither end this thread nor take others with it.
            if len(batch) > 1:
                for item in batch:
                    self._commit([item])
                return
            reason = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
            _log.error("ledger: report of %s not stored: %s", batch[0][0].report.node, reason)
            self._refuse(batch, reason)
            return
        self._failing = False
        self.commit_seconds += time.monotonic() - began
        self.batches += 1
        _tell([(future, (arrival, fate)) for (arrival, future), fate in zip(batch, fates, strict=True)])

    @staticmethod
    def _refuse(batch: list[_Item], reason: str) -> None:
        _tell([(future, LedgerError(f"the ledger cannot store: {reason}")) for _, future in batch])


def _attempt(read: _Read) -> CheckedReport | Exception:
    """What it gives or raises. An exception holds all frames on its way, ours with the one who is told, who holds it:
    without its way it ends, and what was refused with it, when it was told.
    """
    try:
        return read()
    except BaseException as error:  # nothing may end this thread; a future takes no StopIteration
        error.__traceback__ = error.__context__ = None
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            return error
        return RuntimeError(repr(error))


def _tell(answers: list[_Answer]) -> None:
    """Answer from this thread, all of a loop at once: what costs is to wake it."""
    loops: dict[asyncio.AbstractEventLoop, list[_Answer]] = {}
    for answer in answers:
        loops.setdefault(answer[0].get_loop(), []).append(answer)
    for loop, its in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, its)
        except RuntimeError:
            pass  # the loop has ended; what was committed stays committed


def _resolve(answers: list[_Answer]) -> None:
    for future, answer in answers:
        if future.done():  # the asker went away
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
