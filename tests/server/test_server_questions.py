"""Questions to the server: who gets an answer, and what is in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import MAX, Face, a_face

from carbonbudget_core.node_report_json import encode_report


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        yield made


async def test_what_the_controller_asks_by_is_in_the_ledger_and_what_a_tenant_asks_by_is_not(face: Face) -> None:
    await face.ask(selector={"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "run", "operator": "Exists"}]})
    await face.ask("user:dev@team-a", selector={"matchLabels": {"mine": "a"}})
    with face.engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT namespace, several, key, value FROM selected_label")).all()
    assert sorted(map(tuple, rows)) == [("team-a", 0, *pair) for pair in (("app", "*"), ("app", "a"), ("run", "*"))]


async def test_a_tenants_question_makes_no_cut(face: Face) -> None:
    await face.ask("user:dev@team-a", start=HOUR + 1001)
    with face.engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT at FROM cut")).all() == []
        await face.ask("user:controller@*", start=HOUR + 1001)
    with face.engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT at FROM cut")).all() == [HOUR + 1001]


async def test_a_budget_gets_its_pods_own_idle_and_overhead(face: Face) -> None:
    await face.report(a_report(pods={"a": 300_000_000, "b": 100_000_000}, idle_uj=600_000_000, system_uj=80_000_000))
    everything = await face.answer()
    # Idle: two requests of 100m on 2000m, 5 % each. System: by own energy, all of it.
    assert everything["energy_uj"] == 400_000_000 + 60_000_000 + 80_000_000
    one = await face.answer(selector={"matchLabels": {"app": "a"}})
    assert one["energy_uj"] == 300_000_000 + 30_000_000 + 60_000_000
    # 390 J x 458.29 g/kWh at PUE 1: 49.648 mg
    assert one["used_ug"] == 49_648
    assert one["used_g"] == "0.049648"
    assert (await face.answer(selector={"matchLabels": {"app": "a"}}, include=["Dynamic"]))["energy_uj"] == 300_000_000
    assert (await face.answer(namespaces=["team-b"]))["energy_uj"] == 0
    assert (one["measured_percent"], one["coverage_percent"]) == (0, 100)
    assert "WORLD 458.29 g/kWh" in one["factors"][0]


async def test_a_budget_that_starts_now_counts_only_windows_that_start_after_it(face: Face) -> None:
    await face.report(a_report(HOUR + 480))
    start = HOUR + 545
    assert (await face.answer(start=start))["energy_uj"] == 0  # and from now on facts are split there
    await face.report(a_report(HOUR + 540))  # starts before it
    assert (await face.answer(start=start))["energy_uj"] == 0
    face.clock[0] += 60
    await face.report(a_report(HOUR + 600))
    whole = (await face.answer())["energy_uj"]
    assert (await face.answer(start=start))["energy_uj"] * 3 == pytest.approx(whole, abs=3)


async def test_a_budget_that_starts_in_the_past_counts_its_first_hour_pro_rata(face: Face) -> None:
    for index in range(10):
        await face.report(a_report(HOUR + 60 * index))
    half = (await face.answer(start=HOUR + 300))["energy_uj"]
    assert half == pytest.approx((await face.answer())["energy_uj"] / 2, abs=3)


async def test_coverage_falls_with_a_hole(face: Face) -> None:
    await face.report(a_report(HOUR))
    await face.report(a_report(HOUR + 540))
    assert (await face.answer())["coverage_percent"] == 20


async def test_reads_need_the_right_in_every_namespace_asked_for(face: Face) -> None:
    await face.report(a_report())
    assert (await face.ask("user:dev@team-a")).status_code == 200
    refused = await face.ask("user:dev@team-a", namespaces=["team-a", "team-b"])
    assert (refused.status_code, refused.json()["reason"]) == (
        403,
        "dev@team-a may not get carbonbudgets in namespace team-b",
    )
    assert (await face.ask("")).status_code == 401
    allocation = "/v1/allocation?from=0&to=2000000000"
    assert (await face.client.get(allocation, headers={"Authorization": "Bearer user:dev@team-a"})).status_code == 403


async def test_a_token_of_fewer_scopes_has_not_the_rights_of_its_users_full_one(face: Face) -> None:
    for token, status in (
        ("user:dev@team-a,team-b", 200),
        ("scoped:dev@team-a,team-b:team-b", 403),
        ("scoped:dev@team-a,team-b:team-a", 200),
        ("user:dev@team-a,team-b", 200),
    ):
        assert (await face.ask(token)).status_code == status, token


async def test_an_allocations_rows_add_up_to_its_total_whatever_is_asked(face: Face) -> None:
    for index, node in enumerate(("node-1", "node-2", "node-3")):
        pods = {f"{node}-{i}": 1_000_003 * (i + 1) for i in range(7)}
        await face.report(a_report(HOUR + 60 * index, node, pods), f"node:{node}")
    totals = set()
    for group_by in ("namespace", "workload,label:app", "node,namespace", "label:none"):
        for filter_by in ("", "namespace=team-a", "node=node-2", "label:app=node-1-3"):
            answer = await face.client.get(
                "/v1/allocation",
                params={"from": HOUR, "to": HOUR + 3600, "group_by": group_by, "filter": filter_by},
                headers={"Authorization": "Bearer user:sre@*"},
            )
            value = answer.json()
            for figure in ("energy_uj", "location_ug"):
                assert sum(row[figure] for row in value["rows"]) == value["total"][figure]
            totals.add((value["total"]["energy_uj"], value["total"]["location_ug"]))
    assert len(totals) == 1


async def test_metrics_need_their_right_and_count_refusals(face: Face) -> None:
    await face.report(b"{")
    await face.report(a_report())
    assert (await face.client.get("/metrics", headers={"Authorization": "Bearer user:dev@*"})).status_code == 403
    text = (await face.client.get("/metrics", headers={"Authorization": "Bearer user:prometheus@x"})).text
    assert 'carbonbudget_ingest_refused_total{reason="malformed"} 1.0' in text
    assert 'carbonbudget_ingest_reports_total{fate="stored"} 1.0' in text
    assert "carbonbudget_ledger_data_through_timestamp_seconds 1.76400006e+09" in text


async def test_a_question_about_nothing_needs_the_right_to_all(face: Face) -> None:
    """It is answered how far the whole cluster's record reaches."""
    for path in ("/v1/budgets/query", "/v1/budgets/hours", "/v1/runs/query"):
        for token, status in (("user:eve@nowhere", 403), ("user:dev@team-a", 403), ("user:controller@*", 200)):
            headers = {"Authorization": f"Bearer {token}"}
            answer = await face.client.post(path, json={"queries": []}, headers=headers)
            assert (answer.status_code, path) == (status, path)


@pytest.mark.parametrize("levels", [100, 400, 2_000, 100_000])
async def test_json_of_many_levels_is_malformed_wherever_it_stands(face: Face, levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    report = encode_report(a_report()).encode()
    for body in (deep, b'{"node": %s}' % deep, report[:-1] + b', "more": %s}' % deep):
        answer = await face.report(body[:MAX])
        assert answer.status_code in (400, 200)  # an unknown key of a hundred levels is ignored
        assert "\n" not in answer.json().get("reason", "")
    for path in ("/v1/budgets/query", "/v1/budgets/hours", "/v1/runs/query"):
        for body in (deep, b'{"queries": [%s]}' % deep, b'{"queries": [{"selector": %s}]}' % deep):
            headers = {"Authorization": "Bearer user:controller@*"}
            answer = await face.client.post(path, content=body[:MAX], headers=headers)
            assert (answer.status_code, "\n" in answer.json()["reason"]) == (400, False)
    assert (await face.report(a_report(node="node-2"), "node:node-2")).status_code == 200


async def test_a_reason_that_repeats_what_was_asked_is_printable(face: Face) -> None:
    answer = await face.ask(**{"\x1b[2J\u202e": 1})
    assert answer.status_code == 400
    assert answer.json()["reason"].isprintable()


async def test_how_much_a_tenant_asks_for_at_once_is_bounded_by_what_is_answered(face: Face) -> None:
    whole = {"namespaces": ["team-a"], "start": HOUR, "end": HOUR + 35 * 86_400}
    headers = {"Authorization": "Bearer user:dev@team-a"}
    for path, number, sentence in (
        ("/v1/budgets/query", 1_001, "1001 questions in one request, at most 1000"),
        ("/v1/budgets/hours", 120, "100800 hours in one request, at most 100000"),
    ):
        queries = [{"id": str(index), **whole} for index in range(number)]
        answer = await face.client.post(path, json={"queries": queries}, headers=headers)
        assert (answer.status_code, sentence in answer.json()["reason"]) == (422, True)


@pytest.mark.parametrize("query", [{"start": -1}, {"namespaces": []}, {"selector": {"matchLabel": {}}}, {"bogus": 1}])
async def test_a_malformed_question_is_refused_in_a_line(face: Face, query: dict[str, object]) -> None:
    answer = await face.ask(**query)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["reason"]


async def test_a_budget_is_answered_with_the_pods_of_its_namespaces_that_no_agent_sees(face: Face) -> None:
    await face.report(a_report())
    assert (await face.answer())["pods_without_agent"] == 0
    face.api.unmetered = {"team-a": 2, "team-b": 3}
    assert (await face.answer())["pods_without_agent"] == 2
    assert (await face.answer(namespaces=["team-a", "team-c"]))["pods_without_agent"] == 2
    assert (await face.answer(namespaces=["*"]))["pods_without_agent"] == 5
    assert (await face.answer(namespaces=["team-c"]))["pods_without_agent"] == 0
