"""Limits sign-ins that failed, in each minute: of one address and of all. Time is an argument.

Each attempt with an unknown token makes the server ask the API server. Nobody guesses a token that way, but a flood of
attempts would take the reviews that others need.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import Final

_MINUTE: Final = 60
_IPV6_BITS: Final = 64  # one customer has at least so many addresses


class AttemptLimits:
    """Counts attempts. It stores at most `in_all` addresses."""

    def __init__(self, in_all: int, each: int) -> None:
        self._in_all, self._each = in_all, each
        self._minute = 0
        self._attempts: Counter[str] = Counter()

    def wait_s(self, address: str, now: int) -> int:
        """0 if the attempt is allowed, which counts it; else the seconds until the next one is."""
        minute = now // _MINUTE
        if minute != self._minute:
            self._minute = minute
            self._attempts.clear()
        network = _network(address)
        if self._attempts[network] >= self._each or self._attempts.total() >= self._in_all:
            return _MINUTE - now % _MINUTE
        self._attempts[network] += 1
        return 0

    def forgive(self, address: str) -> None:
        """The attempt was a sign-in: it does not count."""
        network = _network(address)
        if self._attempts[network] > 0:
            self._attempts[network] -= 1


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, _IPV6_BITS), strict=False))
