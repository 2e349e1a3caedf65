"""Limits sign-ins that failed, in each minute: of one address and of all. Time is an argument.

Each attempt with an unknown token makes the server ask the API server. Nobody guesses a token that way, but a flood of
attempts would take the reviews that others need.

An attempt that is under way may fail, so it takes a place too. It is no failure yet: who finds all places taken waits
until one has ended, and only failures refuse anybody. A team that signs in at one moment behind one address is let in.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Final

_MINUTE: Final = 60
_IPV6_BITS: Final = 64  # one customer has at least so many addresses
_MOST_WAITING: Final = 40  # each is one of the page's 64 requests: the rest is left to those who are signed in
_MOST_WAITING_EACH: Final = 30  # of one address: others find places to wait, and to sign in
_TURN_SECONDS: Final = 10.0
_BUSY_SECONDS: Final = 5


class SignInsLimited(Exception):
    """The attempt is refused. `wait_s`: the seconds after which another one is worth it."""

    def __init__(self, reason: str, wait_s: int) -> None:
        super().__init__(f"{reason}: try again in {wait_s} seconds")
        self.wait_s = wait_s


class AttemptLimits:
    """Counts failures and what is under way. It stores at most twice `in_all` addresses."""

    def __init__(self, in_all: int, each: int) -> None:
        self._in_all, self._each = in_all, each
        self._minute = 0
        self._failed: Counter[str] = Counter()
        self._under_way: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._ended = asyncio.Event()  # a new one after each attempt that ended

    async def begin(self, address: str, now: int) -> None:
        """Take a place for an attempt; `end` gives it back. Raises SignInsLimited where there is none."""
        network = _network(address)
        self._refuse_after_failures(network, now)
        if self._has_place(network):
            self._under_way[network] += 1
            return
        if self._waiting[network] >= _MOST_WAITING_EACH or self._waiting.total() >= _MOST_WAITING:
            raise SignInsLimited("too many people sign in at this moment", _BUSY_SECONDS)
        self._waiting[network] += 1
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                while not self._has_place(network):
                    await self._ended.wait()
                    self._refuse_after_failures(network, now)
                self._under_way[network] += 1
        except TimeoutError:
            raise SignInsLimited("too many people sign in at this moment", _BUSY_SECONDS) from None
        finally:
            self._waiting -= Counter({network: 1})

    def end(self, address: str, failed: bool) -> None:
        """The attempt is over. One that signed somebody in leaves nothing behind."""
        network = _network(address)
        self._under_way -= Counter({network: 1})  # the Counter drops what is 0
        if failed:
            self._failed[network] += 1
        self._ended.set()
        self._ended = asyncio.Event()

    def _refuse_after_failures(self, network: str, now: int) -> None:
        minute = now // _MINUTE
        if minute > self._minute:
            self._minute = minute
            self._failed.clear()
        if self._failed[network] >= self._each or self._failed.total() >= self._in_all:
            raise SignInsLimited("too many sign-ins failed", _MINUTE - now % _MINUTE)

    def _has_place(self, network: str) -> bool:
        of_address = self._failed[network] + self._under_way[network]
        return of_address < self._each and self._failed.total() + self._under_way.total() < self._in_all


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, _IPV6_BITS), strict=False))
