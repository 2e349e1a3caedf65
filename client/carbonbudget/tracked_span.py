"""A span: one named part of a run between two instants, with the container's CPU counter at both as its weight."""

from __future__ import annotations

import time
from contextvars import ContextVar

from carbonbudget import span_starts
from carbonbudget.client_notices import notice_error
from carbonbudget.tracking_session import SESSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from carbonbudget.span_results import Result

# The open spans of this thread or asyncio task, outermost first. A tuple, so that a task cannot change that of another.
OPEN_SPANS: ContextVar[tuple[TrackedSpan, ...]] = ContextVar("carbonbudget_open_spans", default=())

_TOGETHER_NS = 1_000_000  # a clock and a counter that are read within a millisecond are of one instant
_MOST_READS = 3


def _instant() -> tuple[int, int | None]:
    """Milliseconds since 1970, and the container's CPU time then.

    A thread that lost the processor or the interpreter's lock between the two reads both again: meanwhile other threads
    of the container went on.
    """
    for _ in range(_MOST_READS):
        now_ns = time.time_ns()
        cpu_us = SESSION.read_cpu_us()
        if cpu_us is None or 0 <= time.time_ns() - now_ns < _TOGETHER_NS:
            break
    return now_ns // 1_000_000, cpu_us


class TrackedSpan:
    """One part of a run, open from its creation until `end`, or until the `with` that it is given to is left.

    Its methods never raise.

    `start_ms` and `end_ms` are milliseconds since 1970 (`end_ms` is None while it is open). `cpu_start_us` and
    `cpu_end_us` are the container's cumulative CPU time, or None where it cannot be read. `known_result` is the newest
    result that arrived; `result` asks for one. `named` is the run, model and version that it belongs to.
    """

    __slots__ = (
        *("cpu_end_us", "cpu_start_us", "end_ms", "id", "known_result", "name", "named", "start_ms", "step"),
        "_process",
    )

    def __init__(self, name: str, step: int | None = None) -> None:
        self.name, self.step, self.id = name, step, ""
        self.start_ms = time.time_ns() // 1_000_000
        self.end_ms: int | None = None
        self.cpu_start_us: int | None = None
        self.cpu_end_us: int | None = None
        self.known_result: Result | None = None
        self._process, self.named = 0, SESSION.named
        try:
            self.id = SESSION.begin()
            self._process, self.named = SESSION.process, SESSION.named
            self.start_ms, self.cpu_start_us = _instant()
        except Exception as error:
            notice_error("track", error)
        # Without those that ended in another thread or task: only their own context could take them out of the tuple.
        OPEN_SPANS.set((*[span for span in OPEN_SPANS.get() if span.end_ms is None], self))
        if span_starts.START_LISTENERS:
            span_starts.tell_started(self)

    def end(self) -> None:
        """Close the span and queue it. Does nothing if it is closed."""
        if self.end_ms is not None:
            return
        # A span that was open when the process forked belongs to the parent, which ends it too.
        is_ours = self._process == SESSION.process
        end_ms = self.end_ms = self.start_ms  # closed, also for a signal handler that comes in between
        spans = OPEN_SPANS.get()
        if spans and spans[-1] is self:
            OPEN_SPANS.set(spans[:-1])
        else:
            self._leave()
        try:
            if is_ours and self.cpu_start_us is not None:
                end_ms, self.cpu_end_us = _instant()
            else:
                end_ms = time.time_ns() // 1_000_000
        except Exception as error:
            end_ms = time.time_ns() // 1_000_000
            notice_error("track", error)
        # A clock that was set back in between makes no reversed span.
        self.end_ms = end_ms if end_ms > self.start_ms else self.start_ms
        if is_ours:
            try:
                SESSION.record(self)
            except Exception as error:
                notice_error("track", error)

    def cancel(self) -> None:
        """Close the span and forget it."""
        if self.end_ms is None:
            self.end_ms = self.start_ms
            self._leave()

    def _leave(self) -> None:
        # Not a reset to what was: spans of generators and of other tasks may end in any order.
        OPEN_SPANS.set(tuple(span for span in OPEN_SPANS.get() if span.end_ms is None))

    def __enter__(self) -> TrackedSpan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    async def __aenter__(self) -> TrackedSpan:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def is_open_here(self) -> bool:
        """Whether it is open, and was opened by this process."""
        return self.end_ms is None and self._process == SESSION.process

    def result(self, wait: float = 0) -> Result | None:
        """What is known of the span's energy and emissions; None if nothing is yet.

        It waits up to `wait` seconds for a first result. Measured windows are 60 s long, so that it takes about
        90 s from the span's end until there is one.
        """
        try:
            return SESSION.result(self, float(wait))
        except Exception as error:
            notice_error("result", error)
            return None

    def __repr__(self) -> str:
        return f"Span(id={self.id!r}, name={self.name!r}, step={self.step!r})"


def current_spans() -> tuple[TrackedSpan, ...]:
    """The open spans of this thread or asyncio task, outermost first."""
    return tuple(span for span in OPEN_SPANS.get() if span.is_open_here())
