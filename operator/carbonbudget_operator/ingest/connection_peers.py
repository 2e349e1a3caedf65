"""Limits the number of connections for each node, user and address, so that nobody can use up all of them.

A connection belongs to its address until a request on it was authenticated, from then on to its node or user. Each
group of owners has its own limit: strangers cannot take the connections of agents. When a limit is reached, the owner
with the most connections loses its oldest. So an owner of one connection does not lose it to an owner of hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Abortable(Protocol):
    """A transport: plain, or with TLS."""

    def abort(self) -> None:
        """Close it at once, even during a request."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections a group may have, and each of its owners."""

    in_all: int
    each: int


class _Group:
    def __init__(self, most: ConnectionLimits) -> None:
        self._most = most
        self._count = 0
        self._peers: dict[str, dict[ConnectionPeer, None]] = {}  # by owner, the oldest first

    def add(self, owner: str, peer: ConnectionPeer) -> None:
        self._peers.setdefault(owner, {})[peer] = None
        self._count += 1
        if len(self._peers[owner]) > self._most.each:
            next(iter(self._peers[owner])).cut()
        elif self._count > self._most.in_all:
            largest = max(self._peers.values(), key=len)
            next(iter(largest)).cut()

    def remove(self, owner: str, peer: ConnectionPeer) -> None:
        its = self._peers[owner]
        del its[peer]
        self._count -= 1
        if not its:
            del self._peers[owner]


class ConnectionPeer:
    """The other side of one connection. `transport` is aborted when there are too many."""

    def __init__(self, peers: ConnectionPeers, address: str, transport: Abortable) -> None:
        self.transport: Abortable = transport
        self._peers = peers
        self._place: tuple[_Group, str] | None = None
        self._move(peers.strangers, address)

    def belongs_to(self, owner: str, agent: bool) -> None:
        """Count the connection as the node's (`agent`) or another caller's, after a request was authenticated."""
        if self._place is not None:  # else it was cut, and its last request is still under way
            self._move(self._peers.agents if agent else self._peers.callers, owner)

    def left(self) -> None:
        """The connection has ended."""
        if self._place is not None:
            group, owner = self._place
            self._place = None
            group.remove(owner, self)

    def cut(self) -> None:
        """End it: there are too many."""
        self.left()
        self._peers.cut += 1
        self.transport.abort()

    def _move(self, group: _Group, owner: str) -> None:
        if self._place != (group, owner):
            self.left()
            self._place = (group, owner)
            group.add(owner, self)


class ConnectionPeers:
    """All connections of one server. `cut` counts those that were ended because there were too many."""

    def __init__(self, most: int) -> None:
        """`most`: as many connections as there may be; three quarters of them, at least, are the agents'."""
        others = min(1_000, most // 8)
        self.strangers = _Group(ConnectionLimits(others, min(256, others)))
        self.callers = _Group(ConnectionLimits(others, min(64, others)))
        self.agents = _Group(ConnectionLimits(most - 2 * others, 16))
        self.cut = 0
