"""The body of a report: decompressed within bounds, however it is packed."""

from __future__ import annotations

import zlib

from carbonbudget_operator.ingest.refusal import Refusal


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
