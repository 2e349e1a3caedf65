"""A PostgreSQL that became read-only: the server is not ready, refuses in order, and goes on by itself afterwards."""

from __future__ import annotations

import pytest
from tests.ledger.reports import HOUR, a_report
from tests.ledger.test_failover import ANY_SESSION, Primary
from tests.postgres import PostgresServer
from tests.server.server_face import a_face
from tests.server.test_worker_queue import readiness_is


@pytest.fixture
def primary(postgres: PostgresServer, postgres_ledger: str) -> Primary:
    return Primary(postgres, postgres_ledger)


@pytest.mark.parametrize("more", ["", ANY_SESSION], ids=["refused when opened", "refused at the write"])
async def test_while_the_database_is_read_only_the_server_is_not_ready_and_nothing_is_lost(
    primary: Primary, more: str
) -> None:
    async with a_face(primary.url + more) as face:
        assert (await face.report(a_report())).status_code == 200
        await readiness_is(face, 200)
        primary.demote()
        await readiness_is(face, 503)
        refused = await face.report(a_report(HOUR + 60))
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert (await face.ask()).status_code == 503
        primary.promote()
        await readiness_is(face, 200)
        assert (await face.report(a_report(HOUR + 60))).json()["result"] == "stored"
        assert (await face.ask()).status_code == 200
        assert face.windows() == 2
