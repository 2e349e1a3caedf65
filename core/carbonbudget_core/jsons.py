"""JSON from outside: every defect is a ValueError, depth included, so that no answer can end the agent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value. ValueError for what is no JSON, no UTF-8, or nested deeper than the interpreter goes."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def elements_of(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects in a list, be it decoded whole or kept as encoded JSON; nothing of what is no list."""
    for element in value if isinstance(value, list) else ():
        decoded = json.loads(element) if isinstance(element, bytes) else element
        yield decoded if isinstance(decoded, dict) else {}
