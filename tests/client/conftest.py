"""A server that speaks the contract, for all tests of the client."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.client.trainings import TOKEN, ContractServer


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
