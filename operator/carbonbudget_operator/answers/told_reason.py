"""Why units are missing, as tenants are told it: the class of the failure, and no address. Pure.

The ledger keeps what Prometheus said word for word, for the server's log. A target's status and the API are read by
tenants, and an address, a file or a store's own words are nothing for them.
"""

from __future__ import annotations

import re
from typing import Final

_IN_LOG: Final = "the server's log says why"
_STATUS: Final = re.compile(r"Prometheus answers (\d{3})\b")
_SECONDS: Final = re.compile(r"Prometheus does not answer within [\d.]+ s")
_INCOMPLETE: Final = "the answer is incomplete"
# A URL, an address with a port, an address of IPv4 or IPv6, a host's name with two dots, or a file.
_PLACE: Final = re.compile(
    r"://|[\w\])]:\d{2,5}\b|\b\d{1,3}(?:\.\d{1,3}){3}\b|[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:]+"
    r"|\b[\w-]+\.[\w-]+\.[a-z]{2,}\b|(?:^|\s|['\"(])/[\w.-]+"
)
_SETTING: Final = re.compile(r"\b(?:units|server)\.\w+(?:\.\w+)*")


def told_reason(reason: str) -> str:
    """The reason without addresses, files and words of the store."""
    if found := _STATUS.match(reason):
        return f"Prometheus answers {found[1]}: {_IN_LOG}"
    if found := _SECONDS.match(reason):
        return found[0]
    if reason.startswith("Prometheus does not answer"):
        return f"Prometheus does not answer: {_IN_LOG}"
    if reason.startswith(_INCOMPLETE):
        return f"{_INCOMPLETE}: it is asked for again"
    if _PLACE.search(_SETTING.sub("", reason)):
        return f"Prometheus cannot be asked: {_IN_LOG}"
    return reason
