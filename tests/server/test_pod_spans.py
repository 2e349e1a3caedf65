"""A pod posts spans and asks for their results by its own token, and for nothing of another pod."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import NOW, Face, a_face

from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server import span_inbox
from carbonbudget_operator.server.request_rates import RequestRates
from carbonbudget_operator.server.routes import self_requests

LABELS = {"carbonbudget.dev/run": "exp-42"}
MS = HOUR * 1000


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        yield made


@pytest.fixture
async def either(url: str) -> AsyncIterator[Face]:
    """On SQLite, and on PostgreSQL."""
    async with a_face(url) as made:
        yield made


def token(uid: str = "pod-1", namespace: str = "team-a") -> dict[str, str]:
    return {"Authorization": f"Bearer pod:{namespace}/{uid}/{uid}"}


def a_span(name: str, start_s: float, end_s: float, **more: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "start_ms": MS + int(start_s * 1000), "end_ms": MS + int(end_s * 1000)} | more


async def post(face: Face, *spans: dict[str, Any], uid: str = "pod-1", namespace: str = "team-a") -> httpx.Response:
    body = {"run": "exp-42", "spans": list(spans)}
    return await face.client.post("/v1/self/spans", json=body, headers=token(uid, namespace))


async def ask(face: Face, query: str = "", uid: str = "pod-1", namespace: str = "team-a") -> dict[str, Any]:
    answer = await face.client.get(f"/v1/self{query}", headers=token(uid, namespace))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def report_minutes(face: Face, minutes: int, first: int = 0, labels: dict[str, str] = LABELS) -> None:
    face.clock[0] = max(face.clock[0], HOUR + 60 * (first + minutes))
    for minute in range(first, first + minutes):
        body = a_report(HOUR + 60 * minute, pods={"pod-1": 300 + minute, "pod-2": 1}, labels=labels)
        answer = await face.report(body)
        assert answer.json() == {"result": "stored"}


def energy(answer: dict[str, Any]) -> int:
    return int(answer["rest_uj"] + sum(span["energy_uj"] for span in answer["spans"]))


async def test_spans_and_the_rest_are_the_pod_to_the_microjoule(either: Face) -> None:
    await report_minutes(either, 10)
    spans = [a_span("train", 30, 500), a_span("epoch", 31, 200.5, step=1), a_span("other", 100, 333)]
    assert (await post(either, *spans)).json() == {"accepted": 3, "refused": []}
    answer = await ask(either)
    assert energy(answer) == answer["energy_uj"] == sum(range(300, 310))
    # Half of the first minute, 40 s of the ninth and the tenth: the rest is what no span has, not only a difference.
    assert answer["rest_uj"] in range(300 // 2 + 308 * 40 // 60 + 309 - 2, 300 // 2 + 308 * 40 // 60 + 309 + 3)
    assert (answer["namespace"], answer["pod_uid"], answer["run"]) == ("team-a", "pod-1", "exp-42")
    assert (answer["tracked"], answer["capped"], answer["windows_until_ms"]) == (True, False, MS + 600_000)
    by_id = {span["id"]: span for span in answer["spans"]}
    assert by_id["train"]["inclusive_energy_uj"] > by_id["train"]["energy_uj"] > 0
    assert by_id["epoch"]["step"] == 1
    assert {span["state"] for span in answer["spans"]} == {"provisional"}
    assert all(span["low_ug"] <= span["emissions_ug"] <= span["high_ug"] for span in answer["spans"])


async def test_a_span_is_final_when_its_hour_is_over(face: Face) -> None:
    await report_minutes(face, 62)
    await post(face, a_span("epoch", 0, 540))
    face.clock[0] = HOUR + 3600 + 1000
    (span,) = (await ask(face))["spans"]
    assert (span["state"], span["resolution"]) == ("final", "window")
    assert span["energy_uj"] == sum(range(300, 309))
    assert span["emissions_ug"] > 0


async def test_a_span_whose_windows_have_not_come_has_no_figure_at_all_though_its_hour_is_valued(face: Face) -> None:
    await report_minutes(face, 5)
    face.clock[0] += 60
    await post(face, a_span("known", 60, 120), a_span("later", 310, 350))
    known, later = (await ask(face))["spans"]
    figures = ("energy_uj", "emissions_ug", "market_emissions_ug", "embodied_ug", "low_ug", "high_ug")
    assert [later[name] for name in (*figures, "inclusive_emissions_ug", "measured_permille")] == [None] * 8
    assert all(known[name] is not None for name in figures)


async def test_the_same_id_again_is_the_same_span(either: Face) -> None:
    await report_minutes(either, 2)
    for end in (60, 120):
        assert (await post(either, a_span("a", 0, end))).json()["accepted"] == 1
    (span,) = (await ask(either))["spans"]
    assert span["end_ms"] == MS + 60_000


async def test_a_pod_without_the_label_is_tracked_from_its_first_span_on_and_still_adds_up(face: Face) -> None:
    await report_minutes(face, 3, labels={})
    assert (await ask(face))["tracked"] is False
    await post(face, a_span("before", 0, 60))
    await report_minutes(face, 3, first=3, labels={})
    await post(face, a_span("after", 190, 350))
    answer = await ask(face)
    assert energy(answer) == answer["energy_uj"] == sum(range(300, 306))
    assert {span["id"]: span["resolution"] for span in answer["spans"]}["before"] == "prorated"
    assert answer["run"] is None


async def test_nothing_of_another_pod_is_told_or_changed(face: Face) -> None:
    await report_minutes(face, 5)
    await post(face, a_span("mine", 0, 60))
    other = await ask(face, uid="pod-2")
    assert (other["pod_uid"], other["spans"]) == ("pod-2", [])
    await post(face, a_span("mine", 0, 240), uid="pod-2")
    (span,) = (await ask(face))["spans"]
    assert span["end_ms"] == MS + 60_000
    # An id in the body names no pod, and one of another pod's spans is not found.
    assert (await ask(face, "?ids=mine,nothing"))["spans"] == [span]


@pytest.mark.parametrize(
    ("bearer", "status"),
    [
        ("pod:foreign/pod-1/pod-1", 401),  # another audience
        ("unknown", 401),  # another cluster's, or a deleted pod's: the API server knows it no more
        ("user:lead@*", 403),
        ("node:node-1", 403),
    ],
)
async def test_a_token_of_no_pod_of_this_cluster_is_refused_in_one_line(face: Face, bearer: str, status: int) -> None:
    for method, path in (("GET", ""), ("POST", "/spans"), ("POST", "/units"), ("POST", "/progress")):
        answer = await face.client.request(
            method, f"/v1/self{path}", json={}, headers={"Authorization": f"Bearer {bearer}"}
        )
        assert answer.status_code == status
        assert "\n" not in answer.json()["reason"]


async def test_a_wrong_span_is_refused_alone_with_one_sentence(face: Face) -> None:
    await report_minutes(face, 1)
    wrong = [
        a_span("reversed", 50, 20), a_span("future", 0, 600 + 61), a_span("long", 0, 32 * 86_400),
        a_span("early", -9000, -7200), {"id": "broken"}, 7, a_span("weights", 0, 10, cpu_us=[1]),
    ]  # fmt: skip
    answer = (await post(face, a_span("good", 0, 10, cpu_us=[5, 1]), *wrong)).json()
    assert answer["accepted"] == 1
    assert [one["id"] for one in answer["refused"]] == ["reversed", "future", "long", "early", "broken", "", "weights"]
    assert all(one["reason"] and "\n" not in one["reason"] for one in answer["refused"])
    (span,) = (await ask(face))["spans"]
    assert (span["id"], span["energy_uj"]) == ("good", 50)  # a counter that went back is no weight


@pytest.mark.parametrize(
    ("content", "encoding", "status"),
    [
        (b"[", "", 422),
        (b"{}", "", 422),
        (json.dumps({"spans": [{}] * 1001}).encode(), "", 422),
        (b"x" * 300_000, "", 413),
        (gzip.compress(b" " * 10_000_000), "gzip", 413),
        (b"no gzip", "gzip", 400),
        (b"{}", "br", 415),
    ],
)
async def test_a_body_is_bounded(face: Face, content: bytes, encoding: str, status: int) -> None:
    headers = token() | ({"Content-Encoding": encoding} if encoding else {})
    answer = await face.client.post("/v1/self/spans", content=content, headers=headers)
    assert answer.status_code == status
    assert answer.json()["reason"]


async def test_fields_of_a_later_client_are_ignored_and_name_no_other_pod(face: Face) -> None:
    await report_minutes(face, 1)
    body = {"spans": [a_span("a", 0, 5)], "pod_uid": "pod-2", "attempt": 1}
    answer = await face.client.post("/v1/self/spans", json=body, headers=token())
    assert answer.json() == {"accepted": 1, "refused": []}
    assert [span["id"] for span in (await ask(face))["spans"]] == ["a"]
    assert (await ask(face, uid="pod-2"))["spans"] == []
    unit = {"id": "u1", "name": "inferences", "count": 1, "start_ms": MS, "end_ms": MS + 1000}
    progress = {"done": 1, "total": 10, "at_ms": NOW * 1000}
    for path, content in (("units", {"units": [unit]}), ("progress", progress)):
        answer = await face.client.post(f"/v1/self/{path}", json=content | {"attempt": 1}, headers=token())
        assert answer.status_code == 200, answer.text


async def test_gzip_is_taken(face: Face) -> None:
    await report_minutes(face, 1)
    content = gzip.compress(json.dumps({"spans": [a_span("a", 0, 5)]}).encode())
    answer = await face.client.post("/v1/self/spans", content=content, headers=token() | {"Content-Encoding": "gzip"})
    assert answer.json() == {"accepted": 1, "refused": []}


async def test_units_and_progress_are_stored_once(either: Face) -> None:
    await report_minutes(either, 1)
    unit = {"id": "u1", "name": "inferences", "count": 1000, "start_ms": MS, "end_ms": MS + 1000}
    for _ in range(2):
        answer = await either.client.post("/v1/self/units", json={"units": [unit, unit | {"id": ""}]}, headers=token())
        assert (answer.json()["accepted"], len(answer.json()["refused"])) == (1, 1)
    with either.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, name, count FROM unit_count").all()
    assert [tuple(row) for row in rows] == [("u1", "inferences", 1000)]
    progress = {"done": 1, "total": 10, "unit": "epoch", "at_ms": NOW * 1000}
    answer = await either.client.post("/v1/self/progress", json=progress, headers=token())
    assert answer.json() == {"prediction": None}
    for wrong in ({"done": 11}, {"at_ms": NOW * 1000 + 61_000}, {"unit": "\u202e"}):
        answer = await either.client.post("/v1/self/progress", json=progress | wrong, headers=token())
        assert answer.status_code == 422


async def test_a_count_is_cut_to_the_pods_life_and_costs_as_much_as_its_hours(
    either: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(span_inbox, "_PAUSE_SECONDS", 0.0)
    await report_minutes(either, 1)
    month = {"id": "u1", "name": "inferences", "count": 1000, "start_ms": MS - 30 * 86_400_000, "end_ms": MS + 1000}
    answer = await either.client.post("/v1/self/units", json={"units": [month]}, headers=token())
    assert answer.json() == {"accepted": 1, "refused": []}
    with either.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT hour, micro FROM posted_unit_hour").all()
    assert [tuple(row) for row in rows] == [(HOUR, 1000 * 10**6)]
    # Nobody has reported the other pod yet, so it may be a month old.
    days = [month | {"id": f"d{n}", "start_ms": MS - n * 60_000 - 86_400_000, "end_ms": MS - n * 60_000}
            for n in range(1_000)]  # fmt: skip
    statuses = []
    for number in range(4):
        units = [one | {"id": f"{one['id']}-{number}"} for one in days]
        answer = await either.client.post("/v1/self/units", json={"units": units}, headers=token("pod-7"))
        statuses.append(answer.status_code)
    # 25,000 of 60,000 lines each: the third is let in by what is left, and the fourth pays for it.
    assert statuses == [200, 200, 200, 429]
    assert "lines" in answer.json()["reason"]
    with either.engine.connect() as connection:
        records = connection.exec_driver_sql("SELECT sum(records) FROM posted_count").scalar()
        stored = connection.exec_driver_sql("SELECT count(*) FROM unit_count").scalar()
    assert (stored, 74_000 < records <= 75_001) == (3_001, True)


async def test_a_post_of_many_hours_is_taken_and_only_its_namespace_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reported case: its hours were more than a minute's lines. It was refused for ever, and paid each time."""
    monkeypatch.setattr(span_inbox, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(self_requests, "_LINES", 1)  # 6,000 lines a minute
    day = {"name": "inferences", "count": 1, "start_ms": MS - 90_000_000, "end_ms": MS - 3_600_000}
    units = [day | {"id": f"d{n}"} for n in range(1_000)]
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as face:
        answer = await face.client.post("/v1/self/units", json={"units": units}, headers=token("pod-7"))
        assert answer.json() == {"accepted": 1_000, "refused": []}
        waits = await face.client.post("/v1/self/units", json={"units": units[:1]}, headers=token("pod-7"))
        assert (waits.status_code, 60 < int(waits.headers["Retry-After"]) <= 181) == (429, True)  # of 24,000 lines
        progress = {"done": 1, "total": 10, "at_ms": NOW * 1000}
        answer = await face.client.post("/v1/self/progress", json=progress, headers=token("pod-7"))
        assert answer.status_code == 200
        answer = await face.client.post("/v1/self/units", json={"units": units[:1]}, headers=token("p", "team-b"))
        assert answer.status_code == 200


async def test_an_import_needs_the_verb_in_the_namespace_and_a_pod_of_it(face: Face) -> None:
    await report_minutes(face, 2)
    body = {"namespace": "team-a", "pod_uid": "pod-1", "spans": [a_span("a", 0, 60), a_span("b", 60, 10)]}

    async def send(who: str, **more: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer user:{who}"}
        return await face.client.post("/v1/spans/import", json=body | more, headers=headers)

    answer = await send("importer@team-a")
    assert answer.json()["accepted"] == 1
    assert [one["id"] for one in answer.json()["refused"]] == ["b"]
    assert [span["id"] for span in (await ask(face))["spans"]] == ["a"]
    assert (await send("lead@team-a")).status_code == 403
    assert (await send("importer@team-b")).status_code == 403
    missing = await send("importer@team-a,team-b", namespace="team-b")  # the pod is of another namespace
    assert (missing.status_code, "no hours of a pod pod-1" in missing.json()["reason"]) == (404, True)
    assert "in the last 31 days" in missing.json()["reason"]  # of 35 that the ledger has: a span is no longer
    assert (await send("importer@team-a", pod_uid="other")).status_code == 404


@pytest.mark.parametrize("uid", ["\u0000", "pod-1\n", "a b"])
async def test_a_uid_that_no_pod_can_have_is_refused_before_the_ledger_is_asked(either: Face, uid: str) -> None:
    body = {"namespace": "team-a", "pod_uid": uid, "spans": []}
    headers = {"Authorization": "Bearer user:importer@team-a"}
    answer = await either.client.post("/v1/spans/import", json=body, headers=headers)
    assert (answer.status_code, "pod_uid" in answer.json()["reason"]) == (422, True)


async def test_lines_that_are_refused_are_limited_too(face: Face) -> None:
    await report_minutes(face, 1)
    statuses = []
    for number in range(90):  # 60,000 lines of a minute, and those that are free again meanwhile
        uid = f"pod-{1 + number % 2}"  # all pods of a namespace together: it can have thousands
        answer = await face.client.post("/v1/self/spans", json={"spans": [0] * 1_000}, headers=token(uid))
        statuses.append(answer.status_code)
        if answer.status_code != 200:
            break
    assert (set(statuses[:60]), statuses[-1]) == ({200}, 429)
    assert int(answer.headers["Retry-After"]) > 0
    assert "lines" in answer.json()["reason"]
    other = await post(face, a_span("a", 0, 10), uid="pod-9", namespace="team-b")
    assert other.status_code == 200


def test_requests_are_limited_and_the_next_one_is_announced() -> None:
    now = [100.0]
    rates = RequestRates("pod", 6, "server.spans.requests_per_minute", lambda: now[0])
    for _ in range(6):
        rates.take("a")
    with pytest.raises(Refusal, match="6 requests a minute") as refusal:
        rates.take("a")
    assert (refusal.value.status, refusal.value.retry_after_s) == (429, 11)
    rates.take("b")
    now[0] += 10
    rates.take("a")
    with pytest.raises(Refusal):
        rates.take("a")


async def test_progress_is_answered_with_what_all_steps_will_need(face: Face) -> None:
    await report_minutes(face, 10)
    await post(face, *(a_span(f"e{step}", 120 * step, 120 * step + 120) | {"name": "epoch"} for step in range(4)))
    progress = {"done": 4, "total": 8, "unit": "epoch", "at_ms": MS + 480_000}
    answer = await face.client.post("/v1/self/progress", json=progress, headers=token())
    found = answer.json()["prediction"]
    # Ten minutes of the run's two pods, and six of the eight that are left: two of them are over and measured already.
    used = sum(range(300, 310)) + 10
    mean = sum(range(300, 308)) // 4
    assert (found["covers"], found["run"], found["state"]) == ("run", "exp-42", "provisional")
    assert found["energy_uj"] == used + 3 * mean
    assert found["low_uj"] == used + 3 * 601
    assert found["low_ug"] <= found["emissions_ug"] <= found["high_ug"]
    assert found["ends_at_ms"] == (HOUR + 480 + 480) * 1000


async def test_a_later_progress_is_answered_with_the_newest_prediction_until_the_last_step(face: Face) -> None:
    await report_minutes(face, 10)
    await post(face, *(a_span(f"e{step}", 100 * step, 100 * step + 100) | {"name": "epoch"} for step in range(5)))
    progress = {"done": 5, "total": 60, "unit": "epoch", "at_ms": MS + 500_000}
    first = await face.client.post("/v1/self/progress", json=progress, headers=token())
    assert first.json()["prediction"] is not None
    await post(face, a_span("e5", 500, 600) | {"name": "epoch"})
    progress |= {"done": 6, "at_ms": MS + 600_000}
    assert (await face.client.post("/v1/self/progress", json=progress, headers=token())).content == first.content
    with face.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT max(done) FROM progress_point").scalar() == 6
    face.clock[0] += 10  # the answer about a run is the same for all of its pods for so long
    last = await face.client.post("/v1/self/progress", json=progress | {"done": 60}, headers=token())
    assert last.json()["prediction"] not in (None, first.json()["prediction"])


async def test_posts_are_routed_before_all_other_routes_are_tried(face: Face) -> None:
    """A thousand pods post each minute: to try the routes of people before took as long as the rest of a post."""
    transport = face.client._transport
    assert isinstance(transport, httpx.ASGITransport)
    paths = [getattr(route, "path", "") for route in transport.app.router.routes]  # type: ignore[attr-defined] # FastAPI
    assert set(paths[:5]) == {"/v1/reports", "/v1/self", "/v1/self/spans", "/v1/self/units", "/v1/self/progress"}
