"""The body of a request: reads it within limits of size and time, decompresses it and parses it as a node report.

The limits are here because a body comes from the network: a sender must not be able to use up the server's memory or
keep a connection busy.
"""

from __future__ import annotations

import asyncio
import zlib
from hashlib import blake2b

import orjson
from starlette.requests import ClientDisconnect, Request

from carbonbudget_core.node_report import NodeReport, ReportError
from carbonbudget_core.node_report_json import report_of_json
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestBytes

# A body may take this long, and longer while it arrives at this rate. Links within a cluster are much faster.
_BODY_SECONDS = 10.0
_LEAST_BYTES_PER_SECOND = 64 * 1024
_LONGEST_BODY_SECONDS = 60.0


async def read_body(request: Request, hold: RequestBytes, max_bytes: int) -> bytes:
    """The body as received. The received bytes are counted in `hold`.

    Raises:
        Refusal: 413 if the body is too large, 408 if it arrives too slowly, 503 if `hold` is at its limit, 400 if the
            client closes the connection.
    """
    body = bytearray()  # one object: a body that arrives byte by byte would be millions of objects
    began = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(began + _BODY_SECONDS) as deadline:
            async for part in request.stream():
                if len(body) + len(part) > max_bytes:
                    raise Refusal(413, "too_large", f"the body is larger than {max_bytes} bytes")
                hold.add(len(part))
                body += part
                if len(body) >= _LEAST_BYTES_PER_SECOND:  # an ordinary report is smaller and never moves the deadline
                    seconds = min(_BODY_SECONDS + len(body) / _LEAST_BYTES_PER_SECOND, _LONGEST_BODY_SECONDS)
                    deadline.reschedule(began + seconds)
    except TimeoutError:
        reason = f"the body came too slowly: {len(body)} bytes had arrived when its time was up"
        raise Refusal(408, "slow", reason) from None
    except ClientDisconnect:
        raise Refusal(400, "incomplete", "the client closed the connection before the body was complete") from None
    return bytes(body)


def unpack(body: bytes, encoding: str, max_bytes: int, what: str = "report") -> bytes:
    """The decompressed JSON text; `what` it is for a refusal. At most `max_bytes` + 1 bytes are ever decompressed.

    Raises:
        Refusal: 400 if the body is not gzip, 413 if the text is too large, 415 for an unknown encoding.
    """
    if encoding in ("", "identity"):
        if len(body) > max_bytes:
            raise Refusal(413, "too_large", f"the {what} is larger than {max_bytes} bytes")
        return body
    if encoding != "gzip":
        raise Refusal(415, "encoding", f"Content-Encoding {encoding[:40]!r} is not known: use gzip or none")
    unpacker = zlib.decompressobj(wbits=31)
    try:
        text = unpacker.decompress(body, max_bytes + 1)
    except zlib.error:
        raise Refusal(400, "malformed", "the body is not gzip") from None
    if len(text) > max_bytes:
        raise Refusal(413, "too_large", f"the {what} is larger than {max_bytes} bytes")
    if not unpacker.eof:
        raise Refusal(400, "malformed", "the gzip body ends too early")
    return text


def parse_report(text: bytes) -> tuple[NodeReport, bytes]:
    """The report, and a digest of its content in 8 bytes: equal for every order of keys and amount of white space.

    Raises Refusal 400 if the text is not JSON, is not a report, or a domain does not conserve.
    """
    try:
        value = orjson.loads(text)
        report = report_of_json(value)
    except orjson.JSONDecodeError as error:
        raise Refusal(400, "malformed", f"not JSON: {error}") from None
    except ReportError as error:
        raise Refusal(400, "malformed", str(error)) from None
    try:
        content = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # the parser accepts more levels than the writer, which accepts 254
        raise Refusal(400, "malformed", "the JSON has too many levels of lists and objects") from None
    return report, blake2b(content, digest_size=8).digest()
