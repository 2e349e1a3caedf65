"""Which spans are innermost at each instant. Pure.

A span contains another one if it starts no later and ends no earlier, and they are not equal in both. The innermost of
the open spans are those that contain no other open span. Spans that are equal, and spans that overlap only in part, do
not contain each other: they are innermost together.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Final

from carbonbudget_operator.spans.span_record import Span

# More spans at one instant than anybody reads. It bounds what an instant costs, whatever a pod sends.
MAX_OPEN: Final = 64
_Key = tuple[int, int, str]  # end, -start, id: from the innermost to the outermost


class InnermostSpans:
    """The open spans while time moves on from edge to edge.

    At one instant the longest span opens first, then by id. A span that would be one more than MAX_OPEN does not open.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        self.uncounted: set[str] = set()
        self._to_open = sorted(
            ((span.start_ms, -span.end_ms, span.id) for span in spans if span.start_ms < span.end_ms), reverse=True
        )
        self._open: list[_Key] = []
        self._innermost: list[str] | None = []

    def move_to(self, at_ms: int) -> None:
        """Close and open spans up to the instant; it is not before the last one, and no edge lies between them."""
        closed = bisect_left(self._open, (at_ms + 1,))
        if closed:
            del self._open[:closed]
            self._innermost = None
        while self._to_open and self._to_open[-1][0] <= at_ms:
            start_ms, minus_end_ms, span_id = self._to_open.pop()
            if -minus_end_ms <= at_ms:
                continue
            if len(self._open) < MAX_OPEN:
                insort(self._open, (-minus_end_ms, -start_ms, span_id))
                self._innermost = None
            else:
                self.uncounted.add(span_id)

    @property
    def ids(self) -> list[str]:
        """The ids of the innermost open spans, sorted."""
        if self._innermost is None:
            self._innermost = sorted(self._find())
        return self._innermost

    def _find(self) -> Iterable[str]:
        """In order of their ends, a span contains an earlier one if it does not start after all of these."""
        last: tuple[int, int] | None = None
        for end_ms, minus_start_ms, span_id in self._open:
            bounds = (-minus_start_ms, end_ms)
            if last is None or bounds[0] > last[0] or bounds == last:
                yield span_id
                last = bounds
