"""Messages between the server and its worker processes: a question as a pickle, its answer as a JSON head and bytes.

The server never unpickles, because a worker handles what people sent.
"""

from __future__ import annotations

import json
import pickle
import socket
import struct
from typing import Any, Final

from carbonbudget_operator.ingest.refusal import Refusal

LENGTHS: Final = struct.Struct("!II")  # of the head, of the body
MAX_HEAD: Final = 65_536
_PART: Final = 2**20
_SMALL_PART: Final = 2**14


def pack_question(question: object) -> bytes:
    """The bytes of a question, or of what a worker is started with, after their length."""
    text = pickle.dumps(question)
    return LENGTHS.pack(0, len(text)) + text


def receive_question(connection: socket.socket) -> Any:
    """The next question; None when the server has closed the connection.

    Raises:
        MemoryError: it does not fit in memory. All of it has been received, so that an answer can be sent.
    """
    lengths = _receive(connection, LENGTHS.size)
    if not lengths:
        return None
    text = _receive(connection, LENGTHS.unpack(lengths)[1])
    return pickle.loads(text) if text else None  # noqa: S301 - the server's own


def pack_answer(body: bytes) -> bytes:
    """The bytes of an answer, after their length."""
    return LENGTHS.pack(0, len(body)) + body


def pack_refusal(refusal: Refusal) -> bytes:
    """The bytes of a refusal: a head without a body."""
    head = json.dumps(
        [refusal.status, refusal.kind, refusal.reason[:4000], refusal.retry_after_s, refusal.field]
    ).encode()
    return LENGTHS.pack(len(head), 0) + head


def unpack_refusal(head: bytes) -> Refusal:
    """The refusal that a head states. Raises ValueError if it states none."""
    status, kind, reason, retry_after_s, field = json.loads(head)
    return Refusal(int(status), str(kind), str(reason), int(retry_after_s), str(field))


def _receive(connection: socket.socket, size: int) -> bytearray:
    """`size` bytes; none if the connection ended before."""
    found = bytearray()
    missing = size
    try:
        while missing:
            part = connection.recv(min(missing, _PART))
            if not part:
                return bytearray()
            missing -= len(part)
            found += part
    except MemoryError:
        del found[:]
        # The server sends all of it before it reads an answer.
        while missing and (part := connection.recv(min(missing, _SMALL_PART))):
            missing -= len(part)
        raise
    return found
