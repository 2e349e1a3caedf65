"""Limits the number of connections for each node, user and address, so that nobody can use up all of them.

A connection belongs to its address until a request on it was authenticated, from then on to its node (an agent's), its
namespace (a pod's that asks or posts for itself) or its user. Each of these four kinds has its own limit: strangers and
pods cannot take the connections of agents. When a limit is reached, the owner with the most connections loses its
oldest. So an owner of one connection does not lose it to an owner of hundreds. Strangers have a rule of their own
(`unknown_connections.py`).
"""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from carbonbudget_operator.ingest.unknown_connections import ConnectionLimits, UnknownConnections


class PeerKind(Enum):
    """Who is on the other side of a connection, as far as its requests have shown."""

    STRANGER = "stranger"
    AGENT = "agent"
    POD = "pod"
    CALLER = "caller"


class Abortable(Protocol):
    """A transport: plain, or with TLS."""

    def abort(self) -> None:
        """Close it at once, even during a request."""


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
    """The other side of one connection. `transport` is aborted when there are too many.

    `has_reported`: an agent has sent a request on it. It stays so, whoever sends the next.
    """

    has_reported = False

    def __init__(self, peers: ConnectionPeers, address: str, transport: Abortable) -> None:
        self.transport: Abortable = transport
        self._peers = peers
        self._place: tuple[_Group | UnknownConnections, str] | None = None
        self._move(peers.group(PeerKind.STRANGER), address)

    def belongs_to(self, kind: PeerKind, owner: str) -> None:
        """Count the connection as this owner's, after a request was authenticated."""
        self.has_reported |= kind is PeerKind.AGENT
        if self._place is not None:  # else it was cut, and its last request is still under way
            self._move(self._peers.group(kind), owner)

    def asks(self) -> None:
        """The head of a request has come."""
        if self._place is not None and self._place[0] is self._peers.strangers:
            self._peers.strangers.asks(self._place[1], self)

    def is_answered(self) -> None:
        """A request was answered, or its answer is not taken."""
        if self._place is not None and self._place[0] is self._peers.strangers:
            self._peers.strangers.is_answered(self._place[1], self)

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

    def _move(self, group: _Group | UnknownConnections, owner: str) -> None:
        if self._place != (group, owner):
            self.left()
            self._place = (group, owner)
            group.add(owner, self)


class ConnectionPeers:
    """All connections of one server. `cut` counts those that were ended because there were too many."""

    def __init__(self, most: int) -> None:
        """`most`: as many connections as there may be; three fifths of them, at least, are the agents'."""
        others, pods = min(1_000, most // 8), min(2_000, most // 7)
        self.strangers = UnknownConnections(ConnectionLimits(others, min(256, others)))
        self._groups: dict[PeerKind, _Group | UnknownConnections] = {
            PeerKind.STRANGER: self.strangers,
            PeerKind.CALLER: _Group(ConnectionLimits(others, min(64, others))),
            PeerKind.POD: _Group(ConnectionLimits(pods, min(500, pods))),
            PeerKind.AGENT: _Group(ConnectionLimits(most - 2 * others - pods, 16)),
        }
        self.cut = 0

    def group(self, kind: PeerKind) -> _Group | UnknownConnections:
        """The connections of this kind."""
        return self._groups[kind]
