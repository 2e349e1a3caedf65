"""A server that speaks the contract, for all tests of the client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.client.trainings import TOKEN, ContractServer

import carbonbudget as cb
from carbonbudget.tracking_session import SESSION


@pytest.fixture(scope="session")
def server_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContractServer]:
    server = ContractServer(tmp_path_factory.mktemp("client"))
    yield server
    server.end()


@pytest.fixture
def server(server_process: ContractServer) -> ContractServer:
    """It has received nothing and behaves well."""
    server_process.token_file.write_text(TOKEN)
    server_process.set(reset=True)
    return server_process


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[cb.Span]]:
    """The spans that ended, in that order; nothing is sent."""
    ended: list[Any] = []
    SESSION.start_anew()
    monkeypatch.setattr(SESSION, "record", ended.append)
    monkeypatch.setenv("CARBONBUDGET_QUIET", "1")
    yield ended
    assert cb.current_spans() == ()
    SESSION.start_anew()
