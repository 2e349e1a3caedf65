"""Connections whose owner is not known yet: which one is cut when there are too many.

After a start of the server all agents connect at once, and each is unknown until its token is reviewed. To cut the
oldest would cut those that are served next, and each cut costs one TLS handshake more. To refuse the newest would let
silent connections keep all agents out. So a connection is kept as long as it makes progress, counted in rounds of the
server's own event loop. So a client does not lose its connection because the server is slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

_ROUNDS: Final = 10  # an honest client needs three or four until its request has come
_MANY: Final = 16  # as many as one node's agents may have
_Peers = dict["Unknown", None]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections a group may have, and each of its owners."""

    in_all: int
    each: int


class Unknown(Protocol):
    """A connection whose owner is not known."""

    def cut(self) -> None:
        """End it: there are too many."""


class UnknownConnections:
    """All of one server, by address.

    A connection is new, then its first request is under way, then it is answered and still unknown. What is under way
    is never cut. Of an address with many others, the oldest is cut. Else one that is answered, or new for ten rounds.
    Else the newcomer, which has cost nothing yet.
    """

    def __init__(self, most: ConnectionLimits) -> None:
        self._most = most
        self._counts: dict[str, int] = {}
        self._count = 0
        # Those that may be cut, the oldest first: by address, and all of them as new with its round, and as answered.
        self._idle: dict[str, _Peers] = {}
        self._new: dict[Unknown, int] = {}
        self._answered: _Peers = {}
        self.rounds = 0

    @property
    def is_crowded(self) -> bool:
        """Whether rounds must be counted, because a connection may have to be cut."""
        return self._count > self._most.in_all // 2

    def add(self, address: str, peer: Unknown) -> None:
        """A connection was accepted. One is cut if there are too many."""
        self._counts[address] = self._counts.get(address, 0) + 1
        self._count += 1
        self._idle.setdefault(address, {})[peer] = None
        self._new[peer] = self.rounds
        if self._counts[address] > self._most.each:
            next(iter(self._idle[address])).cut()
        elif self._count > self._most.in_all:
            self._least_needed(peer).cut()

    def remove(self, address: str, peer: Unknown) -> None:
        """A connection has ended, or its owner is known."""
        self._not_idle(address, peer)
        self._count -= 1
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def asks(self, address: str, peer: Unknown) -> None:
        """The head of a request has come. The first one is under way until it is answered."""
        if peer in self._new:
            self._not_idle(address, peer)

    def is_answered(self, address: str, peer: Unknown) -> None:
        """A request was answered, or its answer is not taken, and its sender is still unknown."""
        if peer not in self._answered:
            self._not_idle(address, peer)
            self._idle.setdefault(address, {})[peer] = None
            self._answered[peer] = None

    def _not_idle(self, address: str, peer: Unknown) -> None:
        self._new.pop(peer, None)
        self._answered.pop(peer, None)
        its = self._idle.get(address)
        if its is not None:
            its.pop(peer, None)
            if not its:
                del self._idle[address]

    def _least_needed(self, newcomer: Unknown) -> Unknown:
        largest = max(self._idle.values(), key=len)
        its = next((peer for peer in largest if self._may_be_cut(peer)), None)
        if its is None and len(largest) > _MANY:
            its = next(iter(largest))
        if its is None:
            its = next(iter(self._answered), None)
        if its is None and self._may_be_cut(oldest := next(iter(self._new))):
            its = oldest
        return newcomer if its is None else its

    def _may_be_cut(self, peer: Unknown) -> bool:
        return peer in self._answered or self.rounds - self._new[peer] >= _ROUNDS
