"""A request's body: read within bounds of size and time, and decompressed within bounds."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestBytes

# A body has this long, and longer while it keeps coming at this rate; within a cluster both are far from any link's.
_BODY_SECONDS = 10.0
_LEAST_BYTES_PER_SECOND = 64 * 1024
_LONGEST_BODY_SECONDS = 60.0


async def read_body(request: Request, hold: RequestBytes, max_bytes: int) -> bytes:
    """The body as it came. What has arrived of it is counted in `hold`.

    Raises:
        Refusal: 413 for one that is too large, 408 for one that comes too slowly, 503 where `hold` takes no more.
    """
    body = bytearray()  # in one piece: a body that comes byte by byte would be millions of objects
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(began + _BODY_SECONDS) as deadline:
            async for part in request.stream():
                if len(body) + len(part) > max_bytes:
                    raise Refusal(413, "too_large", f"the body is larger than {max_bytes} bytes")
                hold.add(len(part))
                body += part
                if len(body) >= _LEAST_BYTES_PER_SECOND:  # an ordinary report is far smaller, and moves no timer
                    seconds = min(_BODY_SECONDS + len(body) / _LEAST_BYTES_PER_SECOND, _LONGEST_BODY_SECONDS)
                    deadline.reschedule(began + seconds)
    except TimeoutError:
        reason = f"the body came too slowly: {len(body)} bytes had arrived when its time was up"
        raise Refusal(408, "slow", reason) from None
    except ClientDisconnect:
        raise Refusal(400, "incomplete", "the client closed the connection before the body was complete") from None
    return bytes(body)


def unpack(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The JSON text. Never holds more than `max_bytes` of it, whatever a bomb would expand to.

    Raises:
        Refusal: 400 for what is no gzip, 413 for what is too large, 415 for another encoding.
    """
    if encoding in ("", "identity"):
        if len(body) > max_bytes:
            raise Refusal(413, "too_large", f"the report is larger than {max_bytes} bytes")
        return body
    if encoding != "gzip":
        raise Refusal(415, "encoding", f"Content-Encoding {encoding[:40]!r} is not known: use gzip or none")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(body, max_bytes + 1)
    except zlib.error:
        raise Refusal(400, "malformed", "the body is not gzip") from None
    if len(text) > max_bytes:
        raise Refusal(413, "too_large", f"the report is larger than {max_bytes} bytes")
    if not unpacker.eof:
        raise Refusal(400, "malformed", "the gzip body ends too early")
    return text
