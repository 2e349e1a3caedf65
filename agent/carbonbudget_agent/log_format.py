"""Formats log lines as JSON with the same fields as the operator: time, level, logger, message.

The agent has its own formatter because it does not import the operator.
"""

from __future__ import annotations

import json
import logging
import time

_MAX_TEXT = 4096


class AgentJsonFormatter(logging.Formatter):
    """One object an event, in ASCII: control and deceptive characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; `time` is UTC in milliseconds."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "time": f"{at}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_MAX_TEXT],
        }
        if record.exc_info:
            line["stack"] = [text[:_MAX_TEXT] for text in self.formatException(record.exc_info).split("\n")]
        return json.dumps(line)
