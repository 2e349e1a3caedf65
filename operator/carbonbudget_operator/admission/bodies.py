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
MOST_HELD_BYTES: Final = 16 * 2**20
# The API server takes objects of 3 MiB, writes six bytes for each `<`, and sends the new one and the old one.
MOST_BYTES: Final = 48 * 2**20
_SMALL_BYTES: Final = 64 * 2**10  # as many of these as there are connections, and never cut


class BodyTooLarge(Exception):
    """Longer than anything that the API server sends."""


class ReviewBody:
    """What was kept of one, and how long it was."""

    __slots__ = ("kept", "size")

    def __init__(self) -> None:
        self.kept = bytearray()
        self.size = 0

    def too_large(self) -> bool:
        """Whether only its beginning was kept, or may be read: parsed it would fill the memory."""
        if self.size > len(self.kept):
            return True
        return self.size > _SMALL_BYTES and parsed_bytes(self.kept) > MOST_PARSED_BYTES


class ReviewBodies:
    """Those that are being read now."""

    def __init__(self) -> None:
        self._reading: dict[ReviewBody, None] = {}  # the oldest first
        self._held = 0

    async def read(self, request: web.Request) -> ReviewBody:
        """Its body, whole or its beginning. Raises BodyTooLarge."""
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
            self._held -= len(body.kept)

    def _add(self, body: ReviewBody, chunk: bytes) -> None:
        whole = body.size == len(body.kept)
        body.size += len(chunk)
        if body.size > MOST_BYTES:
            raise BodyTooLarge
        if not whole:
            return
        if body.size > MOST_WHOLE_BYTES:
            self._cut(body)
            return
        body.kept += chunk
        self._held += len(chunk)
        if self._held > MOST_HELD_BYTES:
            self._make_room()

    def _make_room(self) -> None:
        for body in [body for body in self._reading if len(body.kept) > _SMALL_BYTES]:
            self._cut(body)
            if self._held <= MOST_HELD_BYTES:
                return

    def _cut(self, body: ReviewBody) -> None:
        self._held -= len(body.kept)
        body.kept = body.kept[:HEAD_BYTES]
        self._held += len(body.kept)
