"""External figures over REST: who may import, list and remove, and what is answered. A tenant sees nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from tests.external.given import NOW, content
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.external.file_draft import MAX_FIGURES
from carbonbudget_operator.external.file_rows import MAX_BYTES
from carbonbudget_operator.ledger import schema

READER, IMPORTER = "user:reader@*", "user:importer@*"
NOT_ALLOWED = [READER, "user:tenant@team-a", "user:importer@team-a", "scoped:importer@*:team-a", "user:closer@*"]
AWS = content("aws-v3.csv")
SHA256 = hashlib.sha256(AWS).hexdigest()


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        assert (await made.report(a_report(HOUR, "node-1"))).status_code == 200
        made.clock[0] = NOW
        yield made


async def bring(face: Face, body: bytes = AWS, token: str = IMPORTER, **params: str) -> httpx.Response:
    given = {"format": "aws", "name": "aws.csv"} | params
    return await face.client.post(
        "/v1/external", params=given, content=body, headers={"Authorization": f"Bearer {token}"}
    )


async def remove(face: Face, token: str = IMPORTER, **body: object) -> httpx.Response:
    asked = {"source": "aws", "sha256": SHA256, "reason": "why"} | body
    return await face.client.post("/v1/external/remove", json=asked, headers={"Authorization": f"Bearer {token}"})


async def get(face: Face, path: str = "/v1/external", token: str = READER, **params: object) -> httpx.Response:
    return await face.client.get(path, params=params, headers={"Authorization": f"Bearer {token}"})


def rows(face: Face) -> tuple[int, int, int]:
    with face.engine.connect() as connection:
        tables = (schema.external_file, schema.external_figure, schema.external_removal)
        files, figures, removals = (
            connection.scalar(sa.select(sa.func.count()).select_from(table)) for table in tables
        )
    return int(files or 0), int(figures or 0), int(removals or 0)


async def test_a_file_is_imported_listed_reported_and_removed(face: Face, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    told = await bring(face)
    assert told.status_code == 200, told.text
    assert told.json() == {
        "source": "aws", "sha256": SHA256, "name": "aws.csv", "figures": 10, "rounded": 0, "superseded": 1,
        "start": 1_759_276_800, "end": 1_761_955_200,
    }  # fmt: skip
    (item,) = (await get(face)).json()["items"]
    assert (item["imported_at"], item["imported_by"], item["sha256"]) == (NOW, "importer@*", SHA256)
    report = (await get(face, "/v1/report", period="2025-10")).json()
    assert {row["scope"]: row["emissions_g"] for row in report["external"]}["2-market"] == "20000"
    assert "external" not in (await get(face, "/v1/report", period="2025-09")).json()
    gone = await remove(face)
    assert (gone.status_code, gone.json()["removed_by"], gone.json()["reason"]) == (200, "importer@*", "why")
    assert (await get(face)).json() == {"items": [], "removed": [gone.json()]}
    assert rows(face) == (0, 0, 1)
    for word in ("imported", "removed"):
        assert f"external figures aws/{SHA256} were {word} by importer@*" in caplog.messages


@pytest.mark.parametrize("token", NOT_ALLOWED)
async def test_importing_and_removing_need_the_verb_import_in_all_namespaces(face: Face, token: str) -> None:
    assert (await bring(face)).status_code == 200
    for answer in (await bring(face, content("gcp.jsonl"), token, format="gcp"), await remove(face, token)):
        assert answer.status_code == 403
        assert "may not import carbonbudgets in all namespaces" in answer.json()["reason"]
    assert rows(face) == (1, 10, 0)


@pytest.mark.parametrize("token", ["user:tenant@team-a", "user:importer@team-a", "scoped:importer@*:team-a"])
async def test_who_reads_some_namespaces_sees_no_external_figure(face: Face, token: str) -> None:
    assert (await bring(face)).status_code == 200
    for path, params in (("/v1/external", {}), ("/v1/report", {"period": "2025-10"})):
        answer = await get(face, path, token, **params)
        assert answer.status_code == 403
        assert SHA256 not in answer.text


async def test_without_a_token_nothing_is_read(face: Face) -> None:
    for answer in (
        await face.client.get("/v1/external"),
        await face.client.post("/v1/external", params={"format": "aws"}, content=AWS),
        await face.client.post("/v1/external/remove", json={}),
    ):
        assert answer.status_code == 401
    assert rows(face) == (0, 0, 0)


async def test_the_same_file_and_overlapping_ones_are_conflicts(face: Face) -> None:
    assert (await bring(face)).status_code == 200
    again, overlapping = await bring(face), await bring(face, AWS.replace(b"AmazonS3", b"AmazonEKS"))
    assert (again.status_code, overlapping.status_code) == (409, 409)
    assert "imported before" in again.json()["reason"]
    assert overlapping.json()["reason"].startswith(
        "line 2 states emissions of the same account, item and time as line 2"
    )
    assert rows(face) == (1, 10, 0)


async def test_of_two_imports_of_one_file_at_once_one_is_done(face: Face) -> None:
    answers = await asyncio.gather(bring(face), bring(face, token="user:importer@*"))
    assert sorted(answer.status_code for answer in answers) in ([200, 409], [200, 503])  # 503: one at a time each
    assert rows(face) == (1, 10, 0)


@pytest.mark.parametrize(
    ("body", "params", "status", "said"),
    [
        (AWS.replace(b"0.001", b"nan"), {}, 400, "line 2: total_scope_1_emissions_value is 'nan', which is no amount"),
        (AWS[:-9], {}, 400, "may be cut"),
        (b"", {}, 400, "the file is empty"),
        (b"\x00" * 1000, {}, 400, "NUL byte"),
        (b"x" * (MAX_BYTES + 1), {}, 413, "larger than"),
        (AWS, {"format": "gcp"}, 400, "line 1 has no column"),
        (AWS, {"format": "csv"}, 400, "the format must be"),
        (AWS, {"format": "x" * 33}, 400, "format"),
        (AWS, {"timezone": "Europe/Berlin"}, 400, "--time-zone is of codecarbon"),
        (AWS, {"name": "a\nb"}, 400, "the file's name is"),
        (AWS, {"name": "n" * 501}, 400, "name"),
    ],
)
async def test_what_cannot_be_imported_is_said_in_a_line_and_leaves_nothing(
    face: Face, body: bytes, params: dict[str, str], status: int, said: str
) -> None:
    answer = await bring(face, body, **params)
    assert (answer.status_code, list(answer.json())) == (status, ["reason"])
    assert said in answer.json()["reason"]
    assert "\n" not in answer.json()["reason"]
    assert rows(face) == (0, 0, 0)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"sha256": "0" * 64}, 404), ({"source": "gcp"}, 404), ({"sha256": "%%%%%%%%"}, 404), ({"sha256": "1"}, 400),
        ({"reason": ""}, 400), ({"reason": "  "}, 400), ({"reason": "x" * 501}, 400), ({"more": 1}, 400),
    ],
)  # fmt: skip
async def test_what_cannot_be_removed_stays(face: Face, body: dict[str, object], status: int) -> None:
    assert (await bring(face)).status_code == 200
    answer = await remove(face, **body)
    assert answer.status_code == status
    assert set(answer.json()) == ({"reason", "kind", "field"} if "more" in body else {"reason"})
    assert rows(face) == (1, 10, 0)


async def test_a_closed_report_holds_no_external_figure_and_its_hash_does_not_depend_on_them(face: Face) -> None:
    headers = {"Authorization": "Bearer user:closer@*"}
    face.clock[0] = HOUR + 3 * 86_400
    body = {"period": "2025-11-24", "incomplete": True}
    assert (await bring(face, content("codecarbon-2.csv"), format="codecarbon")).status_code == 200
    closed = (await face.client.post("/v1/report/close", json=body, headers=headers)).json()
    assert "external" not in closed["report"]


async def test_who_may_import_alone_imports_and_reads_nothing(face: Face) -> None:
    token = "user:importer-only@*"
    assert (await bring(face, token=token)).status_code == 200
    for path in ("/v1/external", "/v1/allocation"):
        assert (await get(face, path, token, **{"from": HOUR, "to": HOUR + 3600})).status_code == 403
    assert (await remove(face, token)).status_code == 200


async def test_the_largest_file_fits_into_a_worker(face: Face) -> None:
    """Ten thousand rows with all scopes: as many figures as are taken of one file."""
    head, row, _, _ = AWS.splitlines(keepends=True)
    body = head + b"".join(row.replace(b"AmazonEC2", b"Service%06d" % number) for number in range(MAX_FIGURES // 5))
    answer = await bring(face, body)
    assert (answer.status_code, answer.json().get("figures")) == (200, MAX_FIGURES), answer.text
    assert len((await get(face, "/v1/report", period="2025-10")).json()["external"]) == 5
    refused = await bring(face, body + row, name="more")
    assert "has more than 50000 figures: import it in parts" in refused.json()["reason"]


async def test_the_public_api_has_the_sums_for_who_may_read_all_namespaces(face: Face) -> None:
    path = "/api/v1/external"
    window = {"from": "2020-01-01", "to": "2030-01-01"}
    assert (await get(face, path, **window)).json()["rows"] == []
    assert (await bring(face)).status_code == 200
    answer = (await get(face, path, **window)).json()
    assert (answer["start"], answer["end"]) == ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z")
    with face.engine.connect() as connection:
        stored = connection.scalar(sa.select(sa.func.sum(schema.external_figure.c.emissions_ug)))
    assert sum(int(row["emissions_ug"]) for row in answer["rows"]) == stored > 0
    assert {row["source"] for row in answer["rows"]} == {"aws"}
    assert sum(row["figures"] for row in answer["rows"]) == rows(face)[1]
    assert len((await get(face, path, format="csv", **window)).text.splitlines()) == 1 + len(answer["rows"])
    for token in NOT_ALLOWED[1:2]:
        assert (await get(face, path, token, **window)).status_code == 403
    assert (await get(face, path, **{"from": "2030-01-01", "to": "2020-01-01"})).status_code == 400
