"""GET /api/v1/status: refused reports and exports, for those who may read the whole cluster alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import AGENT, Face, a_face
from tests.server.test_public_api import LEAD, TENANT, get

from carbonbudget_operator.api.status_bodies import ServerStatus
from carbonbudget_operator.export_settings import InfluxTargetSettings
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.refused_reports import MOST_KEPT, RefusedReports
from carbonbudget_operator.ledger.export_cursor import ExportCursor, HourState
from carbonbudget_operator.settings import ReportSettings

TARGET = InfluxTargetSettings(name="history", kind="influx", url="https://influx.example", database="cb")


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    reports = ReportSettings(required_labels=["team"])
    async with a_face(f"sqlite:///{tmp_path}/ledger.db", reports=reports, exports=[TARGET]) as made:
        made.api.namespaces = {"team-a", "team-b"}
        for number, (namespace, labels) in enumerate((("team-a", {"team": "a"}), ("team-b", {}), ("team-a", {}))):
            start = HOUR + 3600 * number
            made.clock[0] = start + 600
            report = a_report(start, pods={namespace: 1_000_000_000}, namespace=namespace, labels=labels)
            assert (await made.report(report)).status_code == 200
        made.clock[0] = HOUR + 4 * 3600
        yield made


async def status(face: Face, token: str = LEAD) -> ServerStatus:
    answer = await get(face, "/api/v1/status", token)
    assert answer.status_code == 200, answer.text
    return ServerStatus(**answer.json())


async def test_refused_reports_are_listed_by_node_and_reason_the_latest_first(face: Face) -> None:
    assert (await status(face)).refused == []
    for body, token in ((b"{", "node:node-1"), (a_report(HOUR, "node-1"), "node:node-2"), (b"{", "node:node-1"),
                        (b"{", "nonsense"), (b"{", "user:dev@team-a")):  # fmt: skip
        await face.report(body, token)
        face.clock[0] += 60
    found = (await status(face)).refused
    assert [(one.sender, one.kind, one.reports) for one in found] == [
        ("dev@team-a", "account", 1), ("unknown", "unauthenticated", 1),
        ("node-1", "malformed", 2), ("node-2", "node", 1),
    ]  # fmt: skip
    assert found[0].reason.endswith(f"is not the agents' account {AGENT}")
    assert (found[3].last, found[2].last) == ("2025-11-24T20:01:00Z", "2025-11-24T20:02:00Z")


async def test_a_tenant_reads_no_refusal_and_no_target(face: Face) -> None:
    await face.report(b"{", "node:node-1")
    answer = await get(face, "/api/v1/status", TENANT)
    assert answer.status_code == 403
    assert "node-1" not in answer.text
    assert "history" not in answer.text


def test_who_causes_many_refusals_takes_a_bounded_place() -> None:
    refused = RefusedReports(0)
    for number in range(3 * MOST_KEPT):
        refused.add("x" * 5_000 + str(number), Refusal(400, f"kind-{number}", "y" * 5_000), number)
    found = refused.listed()
    assert len(found) == MOST_KEPT
    assert found[0]["kind"] == f"kind-{3 * MOST_KEPT - 1}"
    assert max(len(one["sender"]) + len(one["reason"]) for one in found) <= 600


async def test_an_exports_lag_is_the_hours_that_its_target_lacks(face: Face) -> None:
    (its,) = (await status(face)).exports
    assert (its.target, its.last_hour, its.hours_behind) == ("history", None, 0)  # it has never been started
    cursor = ExportCursor(face.engine, "default", "history", "one")
    cursor.acquire(face.clock[0], HOUR)
    (its,) = (await status(face)).exports
    assert (its.last_hour, its.hours_behind, its.oldest_missing) == (None, 3, "2025-11-24T16:00:00Z")
    cursor.begin(HOUR, HourState("v", 1, "d", False), b"", face.clock[0])
    assert (await status(face)).exports == [its]  # what was begun is not sent
    cursor.finish(HOUR, "v", None, face.clock[0])
    (its,) = (await status(face)).exports
    assert (its.last_hour, its.hours_behind, its.oldest_missing) == ("2025-11-24T16:00:00Z", 2, "2025-11-24T17:00:00Z")
    cursor.begin(HOUR, HourState("v", 2, "e", False), b"", face.clock[0])  # restated: the target has the first revision
    assert (await status(face)).exports == [its]
    face.clock[0] = HOUR + 3 * 3600 + 899  # the third hour is not closed yet
    assert (await status(face)).exports[0].hours_behind == 1


async def test_the_energy_of_pods_without_required_labels_is_there_where_it_is_asked_for(face: Face) -> None:
    window = {"window": f"{HOUR},{HOUR + 3 * 3600}"}
    assert (await get(face, **window)).json()["unlabelled"] is None
    answer = (await get(face, unlabelled="true", **window)).json()
    plain = (await get(face, **window)).json()
    assert answer["rows"] == plain["rows"]
    found = answer["unlabelled"]
    pods_uj = sum(int(row["energy_uj"]) for row in answer["rows"] if not row["namespace"].startswith("__"))
    assert (found["required"], found["pods_energy_uj"]) == (["team"], str(pods_uj))
    assert found["energy_percent"] == found["energy_percent_by_label"]["team"]
    assert 66 < found["energy_percent"] < 67  # one of three pods has the label
    tenant = (await get(face, token=TENANT, unlabelled="true", **window)).json()["unlabelled"]
    assert tenant["energy_percent"] == 50
    other = (await get(face, unlabelled="true", filter="label:team=a", **window)).json()["unlabelled"]
    assert (other["energy_percent"], other["energy_uj"]) == (0, "0")
    empty = (await get(face, unlabelled="true", filter="namespace=nothing", **window)).json()["unlabelled"]
    assert empty["energy_percent"] is None


async def test_an_answer_with_this_share_has_a_version_of_its_own(face: Face) -> None:
    assert (await get(face)).headers["ETag"] != (await get(face, unlabelled="true")).headers["ETag"]
