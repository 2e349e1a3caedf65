"""`epochs`: a span for each epoch, progress to the server, and one line with the prediction to the end."""

from __future__ import annotations

from carbonbudget.span_tracking import track

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TypeVar

    T = TypeVar("T")


def epochs(iterable: Iterable[T], total: int | None = None, *, name: str = "epoch") -> Iterator[T]:
    """The items of `iterable`, with a span called `name` around the work on each.

    `total` is the number of epochs; without it `len(iterable)`. Where it is known, energy and emissions to the end are
    shown once, after the first epochs.
    """
    items = iter(iterable)
    step = 0
    while True:
        span = track(name, step).start()
        try:
            # Inside the span: what loads the data belongs to the epoch.
            item = next(items)
        except StopIteration:
            span.cancel()
            return
        except BaseException:
            span.end()
            raise
        try:
            yield item
        finally:
            span.end()
        step += 1
