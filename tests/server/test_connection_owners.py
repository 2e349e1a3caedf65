"""Whose a connection is follows from what the API server says of who sent a request: agents by their account alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.ledger.reports import a_report
from tests.server.server_face import a_server

from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.ingest.connection_peers import ConnectionPeer, ConnectionPeers, PeerKind


class Line:
    """A transport."""

    def abort(self) -> None:
        """Nothing is to end."""


class OneConnection:
    """An application whose requests all come on one connection."""

    def __init__(self, app: Any) -> None:
        self._app, self.peers = app, ConnectionPeers(14_000)
        self.peer = ConnectionPeer(self.peers, "10.0.0.1", Line())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope | {"state": {"peer": self.peer}}, receive, send)

    def owners(self, kind: PeerKind) -> list[str]:
        return list(self.peers.group(kind)._peers)


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[OneConnection]:
    async with a_server(f"sqlite:///{tmp_path}/ledger.db") as made:
        yield OneConnection(made.app)


async def send(connection: OneConnection, token: str, path: str, body: bytes = b"") -> int:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=connection), base_url="http://x") as client:
        headers = {"Authorization": f"Bearer {token}"}
        return (
            await client.request("POST" if body else "GET", path, content=body or None, headers=headers)
        ).status_code


async def test_a_report_of_the_agents_account_makes_it_the_nodes(connection: OneConnection) -> None:
    assert await send(connection, "node:node-1", "/v1/reports", encode_report(a_report()).encode()) == 200
    assert connection.owners(PeerKind.AGENT) == ["node-1"]
    assert connection.peer.has_reported


async def test_a_pod_that_asks_for_itself_counts_for_its_namespace_and_never_as_its_nodes_agent(
    connection: OneConnection,
) -> None:
    assert await send(connection, "pod:team-a/p/uid", "/v1/self") == 200
    assert connection.owners(PeerKind.POD) == ["namespace team-a"]
    assert connection.owners(PeerKind.AGENT) == []
    assert not connection.peer.has_reported


@pytest.mark.parametrize("path", ["/v1/reports", "/v1/budgets/query", "/api/v1/whoami"])
async def test_elsewhere_a_pod_is_a_caller_of_its_namespace(connection: OneConnection, path: str) -> None:
    """A token of every pod names its node: it opens the agents' share to nobody."""
    await send(connection, "pod:team-a/p/uid", path, b"" if "api" in path else b"{}")
    assert connection.owners(PeerKind.CALLER) == ["namespace team-a"]
    assert connection.owners(PeerKind.AGENT) == []
    assert not connection.peer.has_reported


async def test_a_person_is_a_caller_by_name(connection: OneConnection) -> None:
    await send(connection, "user:jane@team-a", "/api/v1/whoami")
    assert connection.owners(PeerKind.CALLER) == ["jane@team-a"]


def test_a_server_has_as_many_connections_of_each_kind_as_its_reference_says() -> None:
    peers = ConnectionPeers(14_000)
    limits = {kind: (peers.group(kind)._most.in_all, peers.group(kind)._most.each) for kind in PeerKind}
    assert limits == {
        PeerKind.STRANGER: (1_000, 256), PeerKind.CALLER: (1_000, 64), PeerKind.POD: (2_000, 500),
        PeerKind.AGENT: (10_000, 16),
    }  # fmt: skip
    text = " ".join((Path(__file__).parents[2] / "docs/reference/rest.md").read_text().split())
    assert (
        "14,000 connections: 1,000 whose owner is not known yet (256 from one address), 1,000 of callers (64 of one), "
        "2,000 of pods that ask or post for themselves (500 of one namespace), the rest of agents (16 of one node)"
    ) in text
