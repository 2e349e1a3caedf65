"""Reads the bodies of reviews. The stored bytes of each body, and of all bodies together, are bounded.

Of a body that is too large only the beginning is stored. It names the object, and is enough for a decision. The rest is
read and dropped, because the API server writes the whole body before it reads an answer. If all bodies together are too
large, the oldest unfinished body is cut to its beginning: the API server sends its own bodies within milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from carbonbudget_operator.admission.review_parser import HEAD_BYTES
from carbonbudget_operator.json_bounds import parsed_bytes

# Twice an object of 1.5 MiB, the largest that etcd stores.
MOST_WHOLE_BYTES: Final = 3 * 2**20
MOST_PARSED_BYTES: Final = 32 * 2**20
MOST_STORED_BYTES: Final = 16 * 2**20
# The API server accepts objects of 3 MiB, writes six bytes for each `<`, and sends the new object and the old one.
MOST_BYTES: Final = 48 * 2**20
_SMALL_BYTES: Final = 64 * 2**10  # never cut: the number of connections bounds them


class BodyTooLarge(Exception):
    """The body is longer than any that the API server sends."""


@dataclass(slots=True, eq=False)
class ReviewBody:
    """The stored part of one body, and the length of the whole body in bytes."""

    received: bytearray = field(default_factory=bytearray)
    size: int = 0

    def too_large(self) -> bool:
        """Whether only the beginning is stored, or the parsed body would take too much memory."""
        if self.size > len(self.received):
            return True
        return self.size > _SMALL_BYTES and parsed_bytes(self.received) > MOST_PARSED_BYTES


class ReviewBodies:
    """The bodies that are being read now, and their stored bytes together."""

    def __init__(self) -> None:
        self._reading: dict[ReviewBody, None] = {}  # the oldest first
        self._stored_bytes = 0

    async def read(self, request: web.Request) -> ReviewBody:
        """Reads the body of a request: all of it, or its beginning if it is too large. Raises BodyTooLarge."""
        if request.content_length is not None and request.content_length > MOST_BYTES:
            raise BodyTooLarge
        body = ReviewBody()
        self._reading[body] = None
        try:
            async for chunk in request.content.iter_any():
                is_whole = body.size == len(body.received)
                body.size += len(chunk)
                if body.size > MOST_BYTES:
                    raise BodyTooLarge
                if is_whole and body.size <= MOST_WHOLE_BYTES:
                    body.received += chunk
                    self._stored_bytes += len(chunk)
                    if self._stored_bytes > MOST_STORED_BYTES:
                        self._cut_oldest()
                elif is_whole:
                    self._cut(body)
            return body
        finally:
            del self._reading[body]
            self._stored_bytes -= len(body.received)

    def _cut_oldest(self) -> None:
        """Cuts the oldest bodies until all together are within the bound."""
        for body in [body for body in self._reading if len(body.received) > _SMALL_BYTES]:
            self._cut(body)
            if self._stored_bytes <= MOST_STORED_BYTES:
                return

    def _cut(self, body: ReviewBody) -> None:
        self._stored_bytes -= len(body.received)
        body.received = body.received[:HEAD_BYTES]
        self._stored_bytes += len(body.received)
