"""Names and escapes tags of InfluxDB line protocol, for exports to files and to databases. Pure."""

from __future__ import annotations

import re
from typing import Final

LARGEST_INTEGER: Final = 2**63 - 1  # of a field
# No escape of the format carries these through every receiver; `%` stands for itself only as `%25`.
_UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f\\%\u0085\u2028\u2029\ud800-\udfff]")
_SPECIAL: Final = re.compile(r"([,= ])")


def tag_text(value: str) -> str:
    """A tag's value or name, escaped.

    Backslash, `%` and control characters become `%` and the hexadecimal digits of their UTF-8, as in a URL:
    InfluxDB has no escape for a backslash, and a line break would end the point. `tag_value` reads it back.
    """
    if value.isalnum() and value.isascii():
        return value
    return _SPECIAL.sub(r"\\\1", _UNSAFE.sub(_percent, value))


def tag_value(stored: str) -> str:
    """The value of a tag as a receiver has stored it: the reverse of the percent-encoding of `tag_text`."""
    data = re.sub(rb"%([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), stored.encode("utf-8", "surrogatepass"))
    return data.decode("utf-8", "surrogatepass")


def _percent(found: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))


def tag_name(label: str) -> str:
    """The tag of a pod's label: `app.kubernetes.io/name` becomes `label_app_kubernetes_io_name`."""
    return "label_" + re.sub(r"[^a-zA-Z0-9_]", "_", label)
