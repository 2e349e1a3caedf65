"""Limits sign-ins that failed, in each minute: of one address and of all. Time is an argument.

Each attempt with an unknown token makes the server ask the API server. Nobody guesses a token that way, but a flood of
attempts would take the reviews that others need.

An attempt that is under way may fail, so it takes a place too. It is no failure yet: who finds all places taken waits
until one has ended, and only failures refuse anybody. A team that signs in at one moment behind one address is let in.

An IPv6 address counts by itself, and with its /64 against a larger limit: outside a cluster one customer has at least a
/64, and in a cluster all pods of a node or of a subnet may be in one.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import Counter
from typing import Final

_MINUTE: Final = 60
_IPV6_BITS: Final = 64
_NETWORK_PART: Final = 2  # a /64 may have half of all failures
_MOST_WAITING: Final = 40  # each is one of the page's 64 requests: the rest is left to those who are signed in
_MOST_WAITING_EACH: Final = 30  # of one address: others find places to wait, and to sign in
_MOST_WAITING_OF_A_NETWORK: Final = 35
_TURN_SECONDS: Final = 10.0
_BUSY_SECONDS: Final = 5


class SignInsLimited(Exception):
    """The attempt is refused. `wait_s`: the seconds after which another one is worth it."""

    def __init__(self, reason: str, wait_s: int) -> None:
        super().__init__(f"{reason}: try again in {wait_s} seconds")
        self.wait_s = wait_s


class _Level:
    """What each owner of one kind has: addresses, or networks. `each` and `waiting_each` limit one owner."""

    def __init__(self, each: int, waiting_each: int) -> None:
        self._each, self._waiting_each = each, waiting_each
        self.failed: Counter[str] = Counter()
        self.under_way: Counter[str] = Counter()
        self.waiting: Counter[str] = Counter()

    def is_refused(self, owner: str) -> bool:
        """Too many of the owner's attempts failed."""
        return self.failed[owner] >= self._each

    def has_place(self, owner: str) -> bool:
        """Another attempt of the owner may begin."""
        return self.failed[owner] + self.under_way[owner] < self._each

    def may_wait(self, owner: str) -> bool:
        """Another attempt of the owner may wait for a place."""
        return self.waiting[owner] < self._waiting_each


class AttemptLimits:
    """Counts failures and what is under way. It stores at most twice `in_all` addresses, and as many networks."""

    def __init__(self, in_all: int, each: int) -> None:
        self._in_all = in_all
        self._minute = 0
        self._addresses = _Level(each, _MOST_WAITING_EACH)
        self._networks = _Level(max(each, in_all // _NETWORK_PART), _MOST_WAITING_OF_A_NETWORK)
        self._ended = asyncio.Event()  # a new one after each attempt that ended

    async def begin(self, address: str, now: int) -> None:
        """Take a place for an attempt; `end` gives it back. Raises SignInsLimited where there is none."""
        owners = self._owners(address)
        self._refuse_after_failures(owners, now)
        if not self._has_place(owners):
            await self._wait_for_place(owners, now)
        for level, owner in owners:
            level.under_way[owner] += 1

    def end(self, address: str, failed: bool) -> None:
        """The attempt is over. One that signed somebody in leaves nothing behind."""
        for level, owner in self._owners(address):
            level.under_way -= Counter({owner: 1})  # the Counter drops what is 0
            if failed:
                level.failed[owner] += 1
        self._ended.set()
        self._ended = asyncio.Event()

    async def _wait_for_place(self, owners: _Owners, now: int) -> None:
        if self._addresses.waiting.total() >= _MOST_WAITING or not all(one.may_wait(owner) for one, owner in owners):
            raise SignInsLimited("too many people sign in at this moment", _BUSY_SECONDS)
        for level, owner in owners:
            level.waiting[owner] += 1
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                while not self._has_place(owners):
                    await self._ended.wait()
                    self._refuse_after_failures(owners, now)
        except TimeoutError:
            raise SignInsLimited("too many people sign in at this moment", _BUSY_SECONDS) from None
        finally:
            for level, owner in owners:
                level.waiting -= Counter({owner: 1})

    def _refuse_after_failures(self, owners: _Owners, now: int) -> None:
        minute = now // _MINUTE
        if minute > self._minute:
            self._minute = minute
            self._addresses.failed.clear()
            self._networks.failed.clear()
        if self._addresses.failed.total() >= self._in_all or any(one.is_refused(owner) for one, owner in owners):
            raise SignInsLimited("too many sign-ins failed", _MINUTE - now % _MINUTE)

    def _has_place(self, owners: _Owners) -> bool:
        in_all = self._addresses.failed.total() + self._addresses.under_way.total()
        return in_all < self._in_all and all(one.has_place(owner) for one, owner in owners)

    def _owners(self, address: str) -> _Owners:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return ((self._addresses, ""),)
        if parsed.version == 4:
            return ((self._addresses, str(parsed)),)
        network = ipaddress.ip_network((int(parsed), _IPV6_BITS), strict=False)
        return (self._addresses, str(parsed)), (self._networks, str(network))


_Owners = tuple[tuple[_Level, str], ...]
