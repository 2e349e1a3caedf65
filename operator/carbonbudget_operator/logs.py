"""Formats log lines as text or JSON, and limits repeated lines.

`log_action` logs an action. `FailureLog` logs the first of repeated failures and the recovery. `LogRateLimit` limits
lines that callers can cause at will. Metrics count all events, logged or not.
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
_TALKATIVE: Final = ("httpx", "alembic.runtime.plugins")


def log_action(log: logging.Logger, action: str, sentence: str, level: int = logging.INFO, **fields: str | int) -> None:
    """Log one line for an action. `action` is one word that does not change; JSON output also has the fields."""
    log.log(level, "%s", sentence, extra={"action": action, "fields": fields})


class JsonFormatter(logging.Formatter):
    """One JSON object for each event: `time` (UTC), `level`, `logger`, `message`; of an action, `action` and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line. Its text is made printable and shortened."""
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
    """One printable line for each event. Lines of a stack trace are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """The line with a printable message."""
        record.message = printable(record.message, MAX_LINE)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's own name
        """The stack trace with printable lines."""
        return "\n".join(f"  {printable(line, MAX_LINE)}" for line in super().formatException(ei).split("\n"))


def quieten_libraries(level: str) -> None:
    """Let libraries that log each of their steps at `info` say warnings only, but at `debug`.

    httpx logs the address of every request, and addresses have what people ask for: namespaces, labels, filters.
    """
    if level.lower() != "debug":
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)


def stderr_handler(form: str) -> logging.Handler:
    """A handler that writes one line for each event to stderr. `form` is text or json."""
    text = PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form.lower() == "json" else text)
    return handler


class FailureLog:
    """The keys of what fails now. At most 10,000: the oldest is dropped, and its next failure is logged again."""

    def __init__(self) -> None:
        self._failing: dict[Hashable, None] = {}

    def begins(self, key: Hashable) -> bool:
        """Record a failure. Returns whether it is the first since the last success."""
        if key in self._failing:
            return False
        self._failing[key] = None
        if len(self._failing) > _MAX_FAILING:
            del self._failing[next(iter(self._failing))]
        return True

    def ends(self, key: Hashable) -> bool:
        """Record a success. Returns whether it failed before."""
        if key not in self._failing:
            return False
        del self._failing[key]
        return True


class LogRateLimit:
    """Admits at most `per_second` lines a second. It counts the others, so that the next line can report them."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second, self._lines, self._suppressed = 0, 0, 0

    def admit(self, now: float) -> int | None:
        """The number of lines suppressed before this one, or None to suppress it too. `now`: seconds of any clock."""
        if int(now) != self._second:
            self._second, self._lines = int(now), 0
        if self._lines >= self._per_second:
            self._suppressed += 1
            return None
        self._lines += 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed
