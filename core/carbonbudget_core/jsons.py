"""Parses JSON from other programs, and reads fields whose type was not checked.

Each reader returns the value if it has the requested type, else an empty value of that type. A missing field, null and
a value of another type are treated alike. Code that must reject such a value checks it itself, as node_report_json.py
does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

JsonObject = Mapping[str, object]


def parse_json(text: str | bytes) -> Any:
    """The value. ValueError for invalid JSON or UTF-8, or for nesting deeper than the interpreter allows."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_object(source: str | bytes) -> JsonObject:
    """The object that a text is; empty for any other text."""
    try:
        return mapping(parse_json(source))
    except ValueError:
        return {}


def mapping(value: object) -> JsonObject:
    """`value` if it is an object, else an empty one."""
    if isinstance(value, dict):  # nearly always, and much faster to check
        return value
    return value if isinstance(value, Mapping) else {}


def at(value: object, *path: str) -> JsonObject:
    """The object under `path`; empty if there is none."""
    for key in path:  # no reader calls another one: a review and a pod are read with hundreds of these calls
        if isinstance(value, (dict, Mapping)):
            value = value.get(key)
        else:
            return {}
    return value if isinstance(value, (dict, Mapping)) else {}


def text(value: object) -> str:
    """`value` if it is text, else none."""
    return value if isinstance(value, str) else ""


def texts(value: object) -> dict[str, str]:
    """The entries of an object whose values are text: labels or annotations."""
    if not isinstance(value, (dict, Mapping)):
        return {}
    return {key: entry for key, entry in value.items() if isinstance(entry, str)}


def whole_number(value: object, absent: int) -> int:
    """`value` if it is a number from 0 on, else `absent`. JSON has no other integers than these."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else absent


def items(value: object) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def objects(value: object) -> Iterator[dict[str, Any]]:
    """The objects in a list, decoded or still encoded (bytes). Nothing if `value` is not a list."""
    for element in value if isinstance(value, list) else ():
        found = json.loads(element) if isinstance(element, bytes) else element
        if isinstance(found, dict):
            yield found
