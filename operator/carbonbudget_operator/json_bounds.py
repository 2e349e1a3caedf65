"""Estimates the memory that parsing JSON takes, and reads the first members of JSON that is too large to parse. Pure.

Parsed JSON can take 25 times the memory of its text: `{},` is three bytes and one dict. A tenant who may create objects
can make the API server send such text, so its cost is estimated before it is parsed.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection
from typing import Final

Text = bytes | bytearray

# Upper limits of the bytes that CPython 3.11 to 3.13 (64 bit) and orjson take for each structural character. The
# smallest table of a dict counts for its brace; an entry with key, value and table growth for its colon; an element
# with its place in the list for its comma. tests/test_json_bounds.py measures them.
_OF_A_DICT: Final = 260
_OF_AN_EMPTY_DICT: Final = 110
_OF_A_LIST: Final = 130
_OF_AN_ENTRY: Final = 240
_OF_AN_ELEMENT: Final = 100
# One character outside the basic plane makes Python store four bytes for each character of the text.
_OF_A_BYTE: Final = 4

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


def parsed_bytes(text: Text) -> int:
    """An upper limit of the bytes of memory that the parsed `text` takes. Braces inside strings count too."""
    dicts, entries = text.count(b"{"), text.count(b":")
    filled = min(dicts, entries)
    return (
        _OF_A_BYTE * len(text)
        + _OF_A_DICT * filled
        + _OF_AN_EMPTY_DICT * (dicts - filled)
        + _OF_A_LIST * text.count(b"[")
        + _OF_AN_ENTRY * entries
        + _OF_AN_ELEMENT * text.count(b",")
    )


def beginning(text: Text, most: int) -> str:
    """The first `most` bytes as text, without a partial character at the end.

    Raises:
        ValueError: the text is not UTF-8.
    """
    return codecs.getincrementaldecoder("utf-8")().decode(bytes(text[:most]))


def first_members(text: str, at: int, wanted: Collection[str]) -> tuple[dict[str, object], str, int]:
    """Read members of the object at index `at`, up to the first whose key is not in `wanted`.

    Returns the members that were read, the key of that first other member, and the index of its value. If there is
    no other member, the key is empty and the index -1.

    Raises:
        ValueError: there is no object, a key occurs twice, or a value is invalid or incomplete.
    """
    members: dict[str, object] = {}
    at = _after(text, _space(text, at), "{")
    while True:
        at = _space(text, at)
        if not members and text.startswith("}", at):
            return members, "", -1
        key, at = _value(text, at)
        at = _space(text, _after(text, _space(text, at), ":"))
        if not isinstance(key, str) or key in members:
            raise ValueError("a key is not a string or occurs twice")
        if key not in wanted:
            return members, key, at
        members[key], at = _value(text, at)
        at = _space(text, at)
        if text.startswith("}", at):
            return members, "", -1
        at = _after(text, at, ",")


def first_element(text: str, at: int) -> int:
    """The index of the first element of the list at index `at`. Raises ValueError if there is no list."""
    return _space(text, _after(text, at, "["))


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _after(text: str, at: int, sign: str) -> int:
    if not text.startswith(sign, at):
        raise ValueError(f"{sign} is missing at character {at}")
    return at + 1


def _value(text: str, at: int) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
