"""Bodies of reviews while they are read: bounded each, and all together.

A body that is too large keeps its beginning, which says what is asked about, and is read to its end: the API server
writes all of it before it reads an answer. Where bodies together are too many bytes, the oldest unfinished one keeps
its beginning alone: the API server's own come within milliseconds.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from carbonbudget_operator.admission.review import HEAD_BYTES
from carbonbudget_operator.json_bounds import parsed_bytes

# Twice an object of 1.5 MiB, which is all that etcd takes.
MOST_WHOLE_BYTES: Final = 3 * 2**20
MOST_PARSED_BYTES: Final = 32 * 2**20
MOST_STORED_BYTES: Final = 16 * 2**20
# The API server takes objects of 3 MiB, writes six bytes for each `<`, and sends the new one and the old one.
MOST_BYTES: Final = 48 * 2**20
_SMALL_BYTES: Final = 64 * 2**10  # as many of these as there are connections, and never cut


class BodyTooLarge(Exception):
    """Longer than anything that the API server sends."""


class ReviewBody:
    """The stored part of one body, and the length of the whole body in bytes."""

    __slots__ = ("received", "size")

    def __init__(self) -> None:
        self.received = bytearray()
        self.size = 0

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
                self._add(body, chunk)
            return body
        finally:
            del self._reading[body]
            self._stored_bytes -= len(body.received)

    def _add(self, body: ReviewBody, chunk: bytes) -> None:
        whole = body.size == len(body.received)
        body.size += len(chunk)
        if body.size > MOST_BYTES:
            raise BodyTooLarge
        if not whole:
            return
        if body.size > MOST_WHOLE_BYTES:
            self._cut(body)
            return
        body.received += chunk
        self._stored_bytes += len(chunk)
        if self._stored_bytes > MOST_STORED_BYTES:
            self._make_room()

    def _make_room(self) -> None:
        for body in [body for body in self._reading if len(body.received) > _SMALL_BYTES]:
            self._cut(body)
            if self._stored_bytes <= MOST_STORED_BYTES:
                return

    def _cut(self, body: ReviewBody) -> None:
        self._stored_bytes -= len(body.received)
        body.received = body.received[:HEAD_BYTES]
        self._stored_bytes += len(body.received)
