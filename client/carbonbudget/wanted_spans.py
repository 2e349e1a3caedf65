"""The spans whose results somebody waits for: bounded, and rare spans outlive frequent ones.

A training that makes a span of each step must still get the figures of its epochs, which come a minute or two later.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from carbonbudget.tracked_span import TrackedSpan

_MANY_NAMES = 100


class _OfOneName:
    """Spans of one name by id, oldest first."""

    __slots__ = ("known", "unknown")

    def __init__(self) -> None:
        self.unknown: dict[str, TrackedSpan] = {}
        self.known: dict[str, TrackedSpan] = {}  # with a provisional result

    def __len__(self) -> int:
        return len(self.unknown) + len(self.known)


class WantedSpans:
    """At most `most` spans. Any thread may call it; an RLock, since a signal handler may interrupt its own thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._spans: dict[str, TrackedSpan] = {}
        self._names: dict[str, _OfOneName] = {}
        self._lock = threading.RLock()

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._spans

    def get(self, identifier: str) -> TrackedSpan | None:
        """The span, if it is wanted."""
        return self._spans.get(identifier)

    def all(self) -> list[TrackedSpan]:
        """All of them, oldest first."""
        with self._lock:
            return list(self._spans.values())

    @property
    def without_result(self) -> int:
        """How many have no result yet."""
        with self._lock:
            return sum(len(each.unknown) for each in self._names.values())

    def add(self, span: TrackedSpan) -> TrackedSpan | None:
        """Want this one too. The span that made room for it, if one had to."""
        with self._lock:
            evicted = self._evict() if len(self._spans) >= self._most else None
            self._spans[span.id] = span
            of_name = self._names.setdefault(_name(span), _OfOneName())
            (of_name.unknown if span.known_result is None else of_name.known)[span.id] = span
            return evicted

    def settle(self, span: TrackedSpan) -> None:
        """Note that the span has a result now, and waits for the final one."""
        with self._lock:
            of_name = self._names.get(_name(span))
            if of_name is not None and of_name.unknown.pop(span.id, None) is not None:
                of_name.known[span.id] = span

    def forget(self, identifier: str) -> None:
        """Want it no more."""
        with self._lock:
            span = self._spans.pop(identifier, None)
            if span is None:
                return
            name = _name(span)
            of_name = self._names.get(name)
            if of_name is not None:
                of_name.unknown.pop(identifier, None)
                of_name.known.pop(identifier, None)
                if not len(of_name):
                    self._names.pop(name, None)

    def _evict(self) -> TrackedSpan | None:
        """Forget a span and return it: the oldest of the most frequent name, if possible one with a result.

        With many names it is the oldest of all.
        """
        if len(self._names) > _MANY_NAMES:  # each is one span's or nearly: none is frequent, and a search takes long
            oldest = next(iter(self._spans.values()))
            self.forget(oldest.id)
            return oldest
        of_name = max(self._names.values(), key=len, default=None)
        if of_name is None:
            return None
        span = next(iter((of_name.known or of_name.unknown).values()))
        self.forget(span.id)
        return span


def _name(span: TrackedSpan) -> str:
    return span.name if isinstance(span.name, str) else ""
