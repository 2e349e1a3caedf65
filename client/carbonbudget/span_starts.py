"""Who is called when a span begins, in the span's own thread: a tracker's active run is often that thread's alone."""

from __future__ import annotations

from carbonbudget.client_notices import notice_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from carbonbudget.tracked_span import TrackedSpan

    StartListener = Callable[[TrackedSpan], object]

START_LISTENERS: list[StartListener] = []


def add_start_listener(listener: StartListener) -> None:
    """Call `listener(span)` at the start of each span. It must be quick: the tracked code waits for it."""
    if listener not in START_LISTENERS:
        START_LISTENERS.append(listener)


def tell_started(span: TrackedSpan) -> None:
    """Call them all. Never raises."""
    for listener in START_LISTENERS:
        try:
            listener(span)
        except Exception as error:
            notice_error("following a span", error)
