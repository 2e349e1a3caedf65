"""Log lines: one for each action, as text or as JSON, and none twice for what fails again and again.

A component logs what it did (`log_action`), once that a write fails and once that it works again (`FailureLog`), and of
what callers can repeat at will only so many lines a second (`Limit`). Counters count all of it.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Hashable
from typing import Any, Final

from carbonbudget_operator.printable import printable

MAX_LINE: Final = 4096
_MAX_FAILING: Final = 10_000


def log_action(log: logging.Logger, action: str, sentence: str, level: int = logging.INFO, **fields: str | int) -> None:
    """One line for something that was done. `action` is one word that stays the same; JSON has the fields too."""
    log.log(level, "%s", sentence, extra={"action": action, "fields": fields})


class JsonFormatter(logging.Formatter):
    """One JSON object an event: `time` (UTC), `level`, `logger`, `message`, of an action `action` and its fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; text of whatever origin is printable, and cut."""
        time = dt.datetime.fromtimestamp(record.created, dt.UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage(), MAX_LINE),
        }
        if action := getattr(record, "action", ""):
            fields = getattr(record, "fields", {})
            shown = {key: printable(value) if isinstance(value, str) else value for key, value in fields.items()}
            line = {**shown, **line, "action": action}
        if record.exc_info:
            line["stack"] = [printable(text, MAX_LINE) for text in self.formatException(record.exc_info).split("\n")]
        return json.dumps(line)


class PrintableFormatter(logging.Formatter):
    """One printable line an event, whatever text is in it; the lines of a stack trace are set in."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line, with a printable message."""
        record.message = printable(record.message, MAX_LINE)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        """The stack trace, each line of it printable."""
        return "\n".join(f"  {printable(line, MAX_LINE)}" for line in super().formatException(ei).split("\n"))


def stderr_handler(form: str) -> logging.Handler:
    """Writes one line an event to stderr; `form` is text or json."""
    text = PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form.lower() == "json" else text)
    return handler


class FailureLog:
    """What fails now, by key. Bounded: beyond 10,000 the longest known is dropped, and would be logged once more."""

    def __init__(self) -> None:
        self._failing: dict[Hashable, None] = {}

    def begins(self, key: Hashable) -> bool:
        """It failed: whether for the first time since it last worked."""
        if key in self._failing:
            return False
        self._failing[key] = None
        if len(self._failing) > _MAX_FAILING:
            del self._failing[next(iter(self._failing))]
        return True

    def ends(self, key: Hashable) -> bool:
        """It worked: whether it had failed before."""
        if key not in self._failing:
            return False
        del self._failing[key]
        return True


class LogRateLimit:
    """At most `per_second` lines a second; the others are counted, and the next line says how many they were."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second, self._lines, self._suppressed = 0, 0, 0

    def admit(self, now: float) -> int | None:
        """At `now` (any clock, in seconds): how many lines were suppressed before this one; None: suppress it too."""
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        if self._lines >= self._per_second:
            self._suppressed += 1
            return None
        self._lines += 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
