"""JSON from outside: every defect is a ValueError, depth included, so that no answer can end the agent."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value. ValueError for what is no JSON, no UTF-8, or nested deeper than the interpreter goes."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
