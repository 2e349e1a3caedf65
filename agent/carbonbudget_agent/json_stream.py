"""A streaming JSON reader: decodes one small part of a document at a time.

A pod that a tenant wrote can be megabytes long, and there can be many of them. So neither a list nor one of its items
may have to fit into memory. A value of up to 64 KiB is decoded as a whole. Of a larger value only the parts that the
caller names are decoded, and everything else is skipped.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_DECODER, _ENCODER = json.JSONDecoder(), json.JSONEncoder(separators=(",", ":"))
_WHOLE_CHARACTERS = 65_536
_SPACE = re.compile(r"[ \t\n\r]*")
_TEXT = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)  # possessive: it never goes back, however long the text
_NUMBER_TAIL = re.compile(r"[0-9.eE+-]*\Z")
_PLAIN_PAIR = re.compile(r',[ \t\n\r]*"([^"\\]*)"[ \t\n\r]*:[ \t\n\r]*"([^"\\]*)"[ \t\n\r]*(?=[,}])')
_PLAIN = re.compile(r'[^"{}\[\]]+')


@dataclass(frozen=True, slots=True)
class Each:
    """Selects from a list: these parts of each element, and only the elements that `wanted` accepts.

    They are returned as JSON bytes, a tenth of the memory of objects; `jsons.objects` decodes them.
    """

    parts: Mapping[str, Parts]
    wanted: Callable[[Mapping[str, Any]], bool]


# What to decode of a value that is too large to be decoded as a whole. A mapping: these keys of an object. `Each`:
# parts of a list. A number: that many keys of an object, those that sort first. None: nothing.
Parts = Mapping[str, "Parts"] | Each | int | None


class JsonStream:
    """The values of one answer, one after another. Every defect is a ValueError; `chunks` may raise its own errors."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._decode_bytes = codecs.getincrementaldecoder("utf-8")().decode
        self._text, self._at, self._ended = "", 0, False

    def next_character(self) -> str:
        """The next character that is no white space, which stays unread; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = self._at if found is None else found.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._fill():
                return ""

    def expect(self, mark: str) -> None:
        """Read this one character."""
        if self.next_character() != mark:
            raise ValueError(f"JSON: {mark!r} was expected, not {self.next_character() or 'the end'!r}")
        self._at += 1

    def value(self, parts: Parts = None) -> Any:
        """The next value; of a large one only `parts`, and None for a large text."""
        self.next_character()
        decoded, value = self._small()
        if decoded:
            return value
        first = self.next_character()
        if first == "{" and parts is not None and not isinstance(parts, Each):
            return self._object(parts)
        if first == "[" and isinstance(parts, Each):
            elements = self.elements(parts.parts)
            return [
                _ENCODER.encode(each).encode() for each in elements if isinstance(each, dict) and parts.wanted(each)
            ]
        self.skip()
        return None

    def object_keys(self) -> Iterator[str]:
        """The keys of an object. The caller reads or skips each key's value before it asks for the next key."""
        self.expect("{")
        while self.next_character() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise ValueError("JSON: the key of an object is a text")
            self.expect(":")
            yield key
            self._comma("}")
        self.expect("}")

    def elements(self, parts: Parts) -> Iterator[Any]:
        """The elements of a list, one at a time."""
        self.expect("[")
        while self.next_character() != "]":
            yield self.value(parts)
            self._comma("]")
        self.expect("]")

    def skip(self) -> None:
        """Pass over the next value without holding it."""
        depth = 0
        while True:
            first = self.next_character()
            if first == '"':
                self._skip_text()
            elif first and first in "{[":
                depth, self._at = depth + 1, self._at + 1
            elif first and first in "}]" and depth:
                depth, self._at = depth - 1, self._at + 1
            elif first and depth:
                self._at = self._end_of(_PLAIN)
            elif not self._small()[0]:
                raise ValueError("JSON: a value was expected")
            if not depth:
                return

    def _object(self, parts: Mapping[str, Parts] | int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in self.object_keys():
            if isinstance(parts, int):
                found[key] = self.value()
                found = self._first_pairs(found, parts)
            elif key in parts:
                found[key] = self.value(parts[key])
            else:
                self.skip()
        return found

    def _first_pairs(self, found: dict[str, Any], number: int) -> dict[str, Any]:
        """`found` and the pairs of plain texts that follow in what was received; so many, those that sort first.

        It replaces calls for each key and each text: an object may have a hundred thousand.
        """
        while (pair := _PLAIN_PAIR.match(self._text, self._at)) is not None:
            found[pair[1]] = pair[2]
            self._at = pair.end()
            if len(found) > 2 * number:
                found = dict(sorted(found.items())[:number])
        return dict(sorted(found.items())[:number]) if len(found) > number else found

    def _comma(self, end: str) -> None:
        """What stands behind an element: a comma and another one, or the end, which stays unread."""
        if self.next_character() != end:
            self.expect(",")
            if self.next_character() == end:
                raise ValueError(f"JSON: a comma before {end!r}")

    def _small(self) -> tuple[bool, Any]:
        """Whether the next value is small enough to be decoded whole, and the value."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                length = end - self._at
                # A number at the end of what was received may go on: "1" as "12", "1.5" or "1e3".
                if self._text[end - 1].isalnum() and _NUMBER_TAIL.match(self._text, end) and self._fill():
                    continue
                self._at += length
                return True, value
            except RecursionError:  # deeper than any object of Kubernetes: only named parts of it are read
                return False, None
            except ValueError as error:
                if len(self._text) - self._at >= _WHOLE_CHARACTERS:
                    return False, None
                if not self._fill():
                    raise ValueError(f"JSON: {error}") from None

    def _skip_text(self) -> None:
        self._at += 1
        while True:
            self._at = self._end_of(_TEXT)
            if self._text[self._at : self._at + 1] == '"':
                self._at += 1
                return
            if not self._fill():
                raise ValueError("JSON: a text is cut off")

    def _end_of(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self._text, self._at)
        return self._at if found is None else found.end()

    def _fill(self) -> bool:
        """Receive some more and forget what was read; False at the end."""
        if self._ended:
            return False
        chunk = next(self._chunks, None)
        self._ended = chunk is None
        self._text = self._text[self._at :] + self._decode_bytes(chunk or b"", self._ended)
        self._at = 0
        return not self._ended


def read_items(chunks: Iterable[bytes], parts: Parts, fields: dict[str, Any]) -> Iterator[Any]:
    """The items of a Kubernetes list, one at a time; what else it holds is in `fields` when the last was read.

    ValueError for what is no such list.
    """
    stream = JsonStream(chunks)
    for key in stream.object_keys():
        if key == "items":
            yield from stream.elements(parts)
        else:
            fields[key] = stream.value()
    if stream.next_character():
        raise ValueError("JSON: there is more behind the list")
