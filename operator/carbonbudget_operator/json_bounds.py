"""JSON that is too large to be parsed whole: what parsing would cost in memory, and the members at its beginning.

Parsed JSON can take 25 times its own length: `{},` is three bytes and a dict. Whoever may create objects can make the
API server send such text to us, so that its cost is estimated before anything is parsed. No I/O, no clock.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Collection
from typing import Final

Text = bytes | bytearray

# Bytes that CPython 3.11 to 3.13 (64 bit) and orjson's own tree take for each character of structure at most: a dict's
# smallest table belongs to its brace, an entry's share of a grown table with its key and value to its colon, an
# element's object and place in its list to its comma. tests/test_json_bounds.py measures.
_OF_A_DICT: Final = 260
_OF_AN_EMPTY_DICT: Final = 110
_OF_A_LIST: Final = 130
_OF_AN_ENTRY: Final = 240
_OF_AN_ELEMENT: Final = 100
# One character beyond the basic plane makes Python take four bytes for each character of its text.
_OF_A_BYTE: Final = 4

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


def parsed_bytes(text: Text) -> int:
    """How much memory the parsed `text` takes at most. Structure inside strings counts too: it errs upwards."""
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
    """The first `most` bytes as text, without a character that is cut.

    Raises:
        ValueError: it is not UTF-8.
    """
    return codecs.getincrementaldecoder("utf-8")().decode(bytes(text[:most]))


def first_members(text: str, at: int, wanted: Collection[str]) -> tuple[dict[str, object], str, int]:
    """The members of the object at `at` up to the first that is not `wanted`: them, its key, and where its value is.

    Key and place are empty and -1 where the object ends before.

    Raises:
        ValueError: there is no object, a key comes twice, a value is no JSON or is cut.
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
            raise ValueError("a key is no text or comes twice")
        if key not in wanted:
            return members, key, at
        members[key], at = _value(text, at)
        at = _space(text, at)
        if text.startswith("}", at):
            return members, "", -1
        at = _after(text, at, ",")


def first_element(text: str, at: int) -> int:
    """Where the first element of the list at `at` begins. Raises ValueError: there is no list."""
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
        raise ValueError("it is nested too deeply") from None
