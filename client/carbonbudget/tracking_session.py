"""The session: the one object of a process that records spans. It is renewed by `init` and in a forked child."""

from __future__ import annotations

import itertools
import os
from collections import deque

from carbonbudget.client_notices import notice, notice_error
from carbonbudget.client_settings import ClientSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Callable

    from carbonbudget.span_results import Result
    from carbonbudget.tracked_span import TrackedSpan

    Listener = Callable[[TrackedSpan, Result], object]


class TrackingSession:
    """What this process has recorded and not sent."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self._settings: ClientSettings | None = None
        self.run: str | None = None
        self.process = 0
        self._start_anew()

    def _start_anew(self) -> None:
        self.process += 1
        self._prefix = os.urandom(6).hex()
        self._numbers = itertools.count()
        self._queue: deque[TrackedSpan] = deque(maxlen=5_000)

    def init(self, run: str | None, model: str | None, version: str | None) -> None:
        """Read the environment; what is given here has precedence."""
        settings = ClientSettings()
        settings.run, settings.model = run or settings.run, model or settings.model
        settings.version = version or settings.version
        self._settings = settings
        if settings.forgotten:
            notice("nowhere", "nothing is tracked: neither CARBONBUDGET_SERVER_URL nor CARBONBUDGET_LOG is set.")

    def begin(self) -> tuple[str | None, int, str]:
        """Run, process and identifier of a new span."""
        if self._settings is None:
            self.init(None, None, None)
        return self.run, self.process, f"{self._prefix}-{next(self._numbers)}"

    def record(self, span: TrackedSpan) -> None:
        """Queue a span that has ended."""
        self._queue.append(span)

    def count_units(self, counts: Mapping[str, float]) -> None:
        """Queue functional units."""

    def flush(self, seconds: float) -> bool:
        """Send what is queued."""
        return True

    def result(self, span: TrackedSpan, wait: float) -> Result | None:
        """What is known of a span."""
        return None

    def add_listener(self, listener: Listener) -> None:
        """Tell this one too."""
        if listener not in self.listeners:
            self.listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Tell this one no more."""
        if listener in self.listeners:
            self.listeners.remove(listener)

    notice_error = staticmethod(notice_error)


SESSION = TrackingSession()
