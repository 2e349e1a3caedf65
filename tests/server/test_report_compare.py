"""What the server answers to `report --compare` and `export`, and what the command says of an earlier server."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face
from tests.server.test_public_cluster import LEAD

from carbonbudget_operator.cli.answer_source import AnswerSourceError
from carbonbudget_operator.cli.answers_from_server import ServerRequest, ServerSource

DAY = 86_400


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 7260
        for day, microjoules in ((-1, 10**9), (0, 3 * 10**9)):
            report = a_report(HOUR + day * DAY, pods={f"p{day + 1}": microjoules}, idle_uj=0)
            assert (await made.report(report)).status_code == 200
        yield made


async def test_the_server_compares_with_the_span_before(face: Face) -> None:
    headers, span = {"Authorization": f"Bearer {LEAD}"}, {"from": HOUR, "to": HOUR + DAY}
    answer = await face.client.get("/v1/report", params={**span, "compare": "previous"}, headers=headers)
    change = answer.json()["change"]
    assert (change["from"], change["to"], change["has_data"], change["over"]) == (HOUR - DAY, HOUR, True, False)
    assert float(change["total"]["energy_kwh_change_percent"]) == pytest.approx(200, abs=0.1)
    alone = await face.client.get("/v1/report", params=span, headers=headers)
    assert "change" not in alone.json()
    wrong = await face.client.get("/v1/report", params={**span, "compare": "everything"}, headers=headers)
    assert wrong.status_code == 400


async def test_an_allocation_names_its_cluster(face: Face) -> None:
    headers = {"Authorization": f"Bearer {LEAD}"}
    answer = await face.client.get("/v1/allocation", params={"from": HOUR, "to": HOUR + DAY}, headers=headers)
    assert answer.json()["cluster"] == "default"


class Earlier:
    """A server of an earlier version: it answers a report without a change."""

    def send(self, question: ServerRequest) -> tuple[int, bytes]:
        return 200, json.dumps({"total": {}, "namespaces": {}}).encode()


def test_an_earlier_server_that_does_not_compare_is_named_as_such() -> None:
    source = ServerSource(Earlier())
    assert source.report((0, DAY), "1970-01-01") == {"total": {}, "namespaces": {}}
    with pytest.raises(AnswerSourceError, match="earlier version and compares no periods: leave --compare out"):
        source.report((0, DAY), "1970-01-01", compare=True)
