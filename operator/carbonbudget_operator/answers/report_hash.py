"""The text of a report, or of a part of it, that is hashed, and its hash. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import orjson


def canonical_json(report: Mapping[str, object]) -> bytes:
    """The text that is hashed and stored: JSON in UTF-8 with sorted keys, no white space and no line end."""
    return orjson.dumps(report, option=orjson.OPT_SORT_KEYS)


def digest(text: bytes) -> str:
    """SHA-256 of all bytes of the text, in hex."""
    return hashlib.sha256(text).hexdigest()
