"""Messages between the server and its workers: a question as a pickle, its answer as a JSON head and bytes.

The server never unpickles: a worker reads what people wrote.
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


def pack_question(question: object) -> bytes:
    """A question, or what a worker is started with, with its length in front."""
    text = pickle.dumps(question)
    return LENGTHS.pack(0, len(text)) + text


def receive_question(connection: socket.socket) -> Any:
    """The next one; None when the server closed the connection."""
    lengths = _exactly(connection, LENGTHS.size)
    if not lengths:
        return None
    text = _exactly(connection, LENGTHS.unpack(lengths)[1])
    return pickle.loads(text) if text else None  # noqa: S301 - the server's own


def pack_answer(body: bytes) -> bytes:
    """An answer."""
    return LENGTHS.pack(0, len(body)) + body


def pack_refusal(refusal: Refusal) -> bytes:
    """A refusal: it has a head and no body."""
    head = json.dumps([refusal.status, refusal.kind, refusal.reason[:4000], refusal.retry_after_s]).encode()
    return LENGTHS.pack(len(head), 0) + head


def unpack_refusal(head: bytes) -> Refusal:
    """The refusal of a head. Raises ValueError if it is none."""
    status, kind, reason, retry_after_s = json.loads(head)
    return Refusal(int(status), str(kind), str(reason), int(retry_after_s))


def _exactly(connection: socket.socket, size: int) -> bytes:
    """`size` bytes; none if the connection ended before."""
    found = bytearray()
    while len(found) < size:
        part = connection.recv(min(size - len(found), 2**20))
        if not part:
            return b""
        found += part
    return bytes(found)
