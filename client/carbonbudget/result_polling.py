"""Which spans' results somebody waits for, and when the server is asked for them."""

from __future__ import annotations

import time

from carbonbudget.client_notices import notice, notice_error
from carbonbudget.span_results import Result
from carbonbudget.wanted_spans import WantedSpans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from carbonbudget.tracked_span import TrackedSpan

_MOST_SPANS = 1_000
_MOST_IDS = 250  # of a request
_SOON_S = 1.0
_AGAIN_S = 30.0
_AGAIN_WAITING_S = 5.0  # while somebody waits in `Span.result`
_AGAIN_PROVISIONAL_S = 300.0  # idle and overhead are final when the hour is over
_GIVE_UP_S = 4 * 3600.0


class ResultPolling:
    """At most 1,000 spans without a final result. Listeners get the first result and the final one."""

    def __init__(self) -> None:
        self._due_s: dict[str, float] = {}
        self._spans = WantedSpans(_MOST_SPANS)

    @property
    def without_result(self) -> int:
        """How many spans have no result yet, of those that are wanted."""
        return self._spans.without_result

    def want(self, span: TrackedSpan, soon: bool = False) -> bool:
        """Ask for the result of this span from now on, at first in 30 s or `soon`. Whether it was not wanted before."""
        if span.id in self._spans or (span.known_result is not None and span.known_result.state == "final"):
            return False
        evicted = self._spans.add(span)
        if evicted is not None:
            self._due_s.pop(evicted.id, None)
            lacks = "no result" if evicted.known_result is None else "no final result"
            notice(
                f"evicted {lacks}",
                f"more than {_MOST_SPANS} spans wait for results: older ones of the most frequent name "
                f"({evicted.name!s:.50}) get {lacks} here; the server has them",
            )
        self._due_s[span.id] = time.monotonic() + (_SOON_S if soon else _AGAIN_S)
        return True

    def hurry(self) -> bool:
        """Somebody waits: ask soon for what has no result, and less often where that takes several requests.

        Whether something is asked earlier than it would have been, so that the thread must be woken.
        """
        waiting = [span for span in self._spans.all() if span.known_result is None]
        soon = time.monotonic() + _AGAIN_WAITING_S * (1 + len(waiting) // _MOST_IDS)
        later = [span.id for span in waiting if self._due_s.get(span.id, soon + 1) > soon]
        self._due_s.update((name, soon) for name in later)
        return bool(later)

    def next_due_s(self) -> float | None:
        """When to ask again, in `time.monotonic`; None: nothing is wanted."""
        return min(list(self._due_s.values()), default=None)

    def poll(self, ask: Callable[[str], dict[str, Any]]) -> list[tuple[TrackedSpan, Result]]:
        """Ask for the spans that are due with `ask(query)`; returns results for listeners. Raises what `ask` raises."""
        now_s = time.monotonic()
        due = [name for name, due_s in list(self._due_s.items()) if due_s <= now_s][:_MOST_SPANS]
        for name in due:
            if name not in self._spans:  # forgotten by one thread while another one set when it is due
                self._due_s.pop(name, None)
        told: list[tuple[TrackedSpan, Result]] = []
        for first in range(0, len(due), _MOST_IDS):
            names = due[first : first + _MOST_IDS]
            # Set before the question: a failing server is not asked at each turn.
            self._due_s.update((name, now_s + _AGAIN_S) for name in names if name in self._spans)
            told += self._take(ask(f"ids={','.join(names)}"))
        self._drop_old()
        return told

    def _take(self, answer: dict[str, Any]) -> list[tuple[TrackedSpan, Result]]:
        told = []
        until_ms = answer.get("windows_until_ms")
        rows = answer.get("spans")
        for row in rows if isinstance(rows, list) else ():
            span = self._spans.get(str(row.get("id"))) if isinstance(row, dict) else None
            if span is None or row.get("energy_uj") is None:
                continue
            if isinstance(until_ms, (int, float)) and span.end_ms is not None and until_ms < span.end_ms:
                continue  # a part of it: its last windows have not arrived
            try:
                result = Result(row)
            except Exception as error:
                notice_error("result", error)
                continue
            if span.known_result is None or result.state == "final":
                told.append((span, result))
            span.known_result = result
            if result.state == "final":
                self._forget(span.id)
            else:
                self._spans.settle(span)
                self._due_s[span.id] = time.monotonic() + _AGAIN_PROVISIONAL_S
        return told

    def _drop_old(self) -> None:
        oldest_ms = time.time() * 1000 - _GIVE_UP_S * 1000
        for span in self._spans.all():
            if span.end_ms is not None and span.end_ms < oldest_ms:
                self._forget(span.id)

    def _forget(self, name: str) -> None:
        self._spans.forget(name)
        self._due_s.pop(name, None)
