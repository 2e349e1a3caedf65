"""JSON from outside: every defect is a ValueError, depth included, so that no answer can end the agent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")


def parse_json(text: str | bytes) -> Any:
    """The value. ValueError for what is no JSON, no UTF-8, or nested deeper than the interpreter goes."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_items(body: bytes, parse: Callable[[Any], T]) -> tuple[dict[str, Any], list[T]]:
    """A Kubernetes list: its fields but `items`, and what `parse` makes of each item, one at a time.

    A node's pods as Python objects take ten times the bytes of the answer, so no two of them are ever held
    whole. ValueError for what is no such list, and what `parse` raises.
    """
    text = body.decode()
    fields: dict[str, Any] = {}
    items: list[T] = []
    try:
        at = _expect(text, 0, "{")
        while text[at : at + 1] != "}":
            key, at = _DECODER.raw_decode(text, at)
            at = _expect(text, _skip(text, at), ":")
            if key == "items" and text[at : at + 1] == "[":
                at = _items(text, at, parse, items)
            else:
                fields[key], at = _DECODER.raw_decode(text, at)
            at = _next(text, at, "}")
        if _skip(text, at + 1) != len(text):
            raise ValueError("there is more behind the list")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except TypeError as error:  # a key that is no text
        raise ValueError(str(error)) from None
    if "items" in fields:
        raise ValueError("its items are no list")
    return fields, items


def _items(text: str, at: int, parse: Callable[[Any], T], items: list[T]) -> int:
    """The position behind the list that begins at `at`."""
    at = _expect(text, at, "[")
    while text[at : at + 1] != "]":
        value, at = _DECODER.raw_decode(text, at)
        items.append(parse(value))
        at = _next(text, at, "]")
    return at + 1


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _expect(text: str, at: int, mark: str) -> int:
    """The position of what follows `mark`."""
    at = _skip(text, at)
    if text[at : at + 1] != mark:
        raise ValueError(f"no {mark!r} at character {at}")
    return _skip(text, at + 1)


def _next(text: str, at: int, end: str) -> int:
    """The position of the next element behind a comma, or of `end`."""
    at = _skip(text, at)
    if text[at : at + 1] == end:
        return at
    at = _expect(text, at, ",")
    if text[at : at + 1] == end:
        raise ValueError(f"a comma before {end!r} at character {at}")
    return at
