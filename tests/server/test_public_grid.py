"""GET /api/v1/intensity and /api/v1/factors: for whoever is signed in, and what is kept from tenants."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.intensity_settings import HttpJsonSettings, IntensitySettings, StaticSourceSettings
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.intensity_store import claim_poll, fail_poll, store_intensities
from carbonbudget_operator.market_settings import ContractSettings, MarketRate, MarketSettings
from carbonbudget_operator.settings import CarbonSettings

LEAD, TENANT, NOBODY = "user:lead@*", "user:dev@team-a", "user:nobody@"
WINDOW = f"{HOUR},{HOUR + 7200}"
HOSTILE = '<script>alert("x")</script>', '=HYPERLINK("http://x";"y")', "\u202eevil\u202c,\"'", "n" * 253, "@a\r\nb"
CARBON = CarbonSettings(
    zone="DE",
    pue=1.2,
    market=MarketSettings(
        contracts=[
            ContractSettings(
                name=HOSTILE[0], certificate=HOSTILE[1], zone="DE", start=dt.date(2025, 1, 1),
                end=dt.date(2026, 1, 1), kwh=12_345,
            )
        ],
        supplier=MarketRate(g_per_kwh=Decimal(30), source=HOSTILE[2], year=2025),
    ),
    intensity=IntensitySettings(
        sources=[
            HttpJsonSettings(name="net", url="https://x/{zone}", value="v", time="t", basis="lifecycle"),
            StaticSourceSettings(
                name="+stated", figures={"FR": Decimal(20)}, basis="lifecycle", source=HOSTILE[0], year=2025
            ),
        ]
    ),
)  # fmt: skip


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db", carbon=CARBON) as made:
        made.clock[0] = HOUR + 7200
        for node in ("node-1", "node-2"):
            assert (await made.report(a_report(HOUR, node), f"node:{node}")).status_code == 200
        claim_poll(made.engine, "net", "DE", HOUR, 60)
        figures = {HOUR: (100_500, False), HOUR + 3600: (90_000, True)}
        store_intensities(made.engine, "net", "DE", "lifecycle", figures, HOUR + 60, 2)
        fail_poll(made.engine, "net", "DE", HOSTILE[4])
        yield made


async def get(face: Face, name: str, token: str = LEAD, tag: str = "", **params: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} | ({"If-None-Match": tag} if tag else {})
    return await face.client.get(f"/api/v1/{name}", params=params, headers=headers)  # type: ignore[arg-type] # numbers


async def rows(face: Face, name: str, token: str = LEAD, **params: object) -> list[dict[str, Any]]:
    answer = await get(face, name, token, **params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["rows"])


async def test_the_intensity_of_the_nodes_zones_is_by_hour_and_source(face: Face) -> None:
    answer = (await get(face, "intensity", window=WINDOW)).json()
    assert (answer["zones"], answer["start"], answer["end"]) == (["DE"], "2025-11-24T16:00:00Z", "2025-11-24T18:00:00Z")
    assert answer["rows"][0] == {
        "start": "2025-11-24T16:00:00Z", "end": "2025-11-24T17:00:00Z", "zone": "DE", "source": "net",
        "basis": "lifecycle", "g_per_kwh": 100.5, "mg_per_kwh": 100_500, "kind": "published", "estimated": False,
        "low_mg_per_kwh": None, "high_mg_per_kwh": None,
        "age_hours": 0, "received": "2025-11-24T16:01:00Z", "applied": True,
    }  # fmt: skip
    assert [(row["mg_per_kwh"], row["estimated"]) for row in answer["rows"]] == [(100_500, False), (90_000, True)]


async def test_zones_can_be_named_and_only_those_that_there_are(face: Face) -> None:
    found = await rows(face, "intensity", zone="fr, de", window=WINDOW)
    assert {(row["zone"], row["kind"]) for row in found} == {("DE", "published"), ("FR", "stated")}
    for zone, words in (("XX-NOWHERE", "no grid zone"), (",".join(f"Z{n}" for n in range(99)), "")):
        answer = await get(face, "intensity", zone=zone)
        assert (answer.status_code, words in answer.json()["detail"]) == (400, True)


async def test_whoever_is_signed_in_may_ask_and_nobody_else(face: Face) -> None:
    for name in ("intensity", "factors"):
        assert (await get(face, name, NOBODY)).status_code == 200
        assert (await get(face, name, "nonsense")).status_code == 401
        assert (await get(face, name, "user:foreign@*")).status_code == 401
        assert (await get(face, name, bogus=1)).status_code == 400


async def test_names_of_nodes_errors_and_contracted_energy_are_for_those_who_may_read_the_cluster(face: Face) -> None:
    whole = (await get(face, "factors")).json()
    assert [row["node"] for row in whole["rows"]] == ["node-1", "node-2"]
    assert whole["sources"][0]["error"] == HOSTILE[4]
    assert whole["instruments"][0]["kwh"] == 12_345
    for params in ({}, {"format": "csv"}, {"format": "ndjson"}):
        text = (await get(face, "factors", TENANT, **params)).text
        assert not any(secret in text for secret in ("node-1", "node-2", "12345"))
    its = (await get(face, "factors", TENANT)).json()
    assert len(its["rows"]) == 1  # both nodes have the same factors
    assert its["sources"][0] == whole["sources"][0] | {"error": None}
    assert its["sources"][0]["failing"] is True
    assert (await get(face, "intensity", TENANT)).json()["sources"][0]["error"] is None


async def test_the_factors_are_those_that_value_the_present_hour(face: Face) -> None:
    answer = (await get(face, "factors")).json()
    row = answer["rows"][0]
    assert (row["zone"], row["placed"], row["pue"], row["market_g_per_kwh"]) == ("DE", True, 1.2, 30)
    assert "net" in row["location_why"]
    assert "PUE 1.2" in row["location_why"]
    assert "4 years" in row["embodied_why"]
    assert answer["stated"] == [{"source": f"+stated: {HOSTILE[0]}, 2025", "zone": "FR", "g_per_kwh": 20}]
    assert [one["kind"] for one in answer["instruments"]] == ["contract", "supplier"]
    assert answer["sources"][0]["last_answer"] == "2025-11-24T16:01:00Z"


async def test_hostile_text_is_unchanged_in_json_and_runs_in_no_spreadsheet(face: Face) -> None:
    with face.engine.begin() as connection:
        for node, region in zip(("node-1", "node-2"), HOSTILE[1:3], strict=True):
            connection.execute(sa.update(schema.node).where(schema.node.c.name == node).values(region=region))
        connection.execute(sa.update(schema.node).where(schema.node.c.name == "node-2").values(name=HOSTILE[3]))
    answer = await get(face, "factors")
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert [row["region"] for row in found["rows"]] == [HOSTILE[2], HOSTILE[1]]
    assert found["rows"][0]["node"] == HOSTILE[3]
    contract, supplier = found["instruments"]
    assert (contract["name"], contract["source"], supplier["source"]) == HOSTILE[:3]
    for name, params in (("factors", {}), ("intensity", {"zone": "FR", "window": WINDOW})):
        text = (await get(face, name, format="csv", **params)).text  # type: ignore[arg-type] # parameters
        table = list(csv.reader(io.StringIO(text, newline="")))
        assert len(table) > 1
        assert len({len(line) for line in table}) == 1
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for line in table for cell in line)


async def test_an_unchanged_answer_is_not_sent_again(face: Face) -> None:
    face.clock[0] += 30
    for name in ("intensity", "factors"):
        first = await get(face, name)
        tag = first.headers["ETag"]
        again = await get(face, name, tag=tag)
        assert (again.status_code, again.content) == (304, b"")
        assert (await get(face, name, TENANT, tag=tag)).status_code == 200
        assert (await get(face, name, tag=tag, format="csv")).status_code == 200
        face.clock[0] += 30
        assert (await get(face, name, tag=tag)).status_code == 304  # time alone changes nothing
    store_intensities(face.engine, "net", "DE", "lifecycle", {HOUR: (77_000, False)}, HOUR + 90, 2)
    assert (await get(face, "intensity", tag=tag)).status_code == 200


@pytest.mark.parametrize("name", ["intensity", "factors"])
async def test_pages_add_up_to_the_whole(face: Face, name: str) -> None:
    params: dict[str, object] = {"zone": "DE,FR", "window": WINDOW} if name == "intensity" else {}
    whole = await rows(face, name, **params)
    assert len(whole) > 1
    for limit in range(1, len(whole) + 2):
        found, cursor = [], ""
        while cursor is not None:
            page = (await get(face, name, limit=limit, cursor=cursor, **params)).json()
            found, cursor = found + page["rows"], page["next"]
            assert len(page["rows"]) <= limit
        assert found == whole
    assert (await get(face, name, cursor="WzFd")).status_code == 400


async def test_hours_to_come_are_forecast_seven_days_ahead_at_most(face: Face) -> None:
    answer = (await get(face, "intensity", TENANT, window=f"{HOUR},{HOUR + 20 * 86_400}")).json()
    rows = answer["rows"]
    assert answer["forecast_until"] == "2025-12-01T18:00:00Z"  # it is 18:00
    assert [row["kind"] for row in rows[:2]] == ["published", "published"]
    coming = rows[2:]
    assert [coming[0]["start"], coming[-1]["end"]] == ["2025-11-24T18:00:00Z", "2025-12-01T18:00:00Z"]
    assert len(coming) == 7 * 24
    assert {row["kind"] for row in coming} == {"forecast"}
    assert {(row["mg_per_kwh"], row["low_mg_per_kwh"], row["high_mg_per_kwh"]) for row in coming} == {
        (95_250, 90_000, 100_500)
    }
    assert not any(row["applied"] for row in coming)
    assert (await get(face, "intensity", window=WINDOW)).json()["forecast_until"] is None


async def test_the_pages_of_an_answer_with_a_forecast_add_up_to_it(face: Face) -> None:
    window = f"{HOUR},{HOUR + 12 * 3600}"
    whole = (await get(face, "intensity", window=window, zone="DE,FR")).json()["rows"]
    found, cursor = [], ""
    while cursor is not None:
        page = (await get(face, "intensity", window=window, zone="DE,FR", limit=5, cursor=cursor)).json()
        found, cursor = [*found, *page["rows"]], page["next"]
    assert found == whole
    assert {row["kind"] for row in whole} >= {"published", "stated", "forecast"}
