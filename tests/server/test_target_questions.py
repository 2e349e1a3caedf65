"""POST /v1/targets/query: who may ask, what is refused, and what the operator's questions register."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from tests.answers.counted import MICRO, REQUESTS, a_counter, an_hour
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.api.target_query_bodies import TargetAnswers, TargetQuery, TargetSpan
from carbonbudget_operator.api.target_spec import ClusterUnitSource
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.unit_store import WantedCounter
from carbonbudget_operator.server.target_counters import TargetCounters
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE
from carbonbudget_operator.units.counter_expression import expression_of

CONTROLLER, TENANT = "user:controller@*", "user:dev@team-a"
SOURCE: dict[str, Any] = {"counter": {"metric": "requests_total"}}


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 3 * 3600
        for at in (HOUR, HOUR + 3600):
            assert (await made.report(a_report(at, pods={"web": 10**9}, labels={"app": "web"}))).status_code == 200
        yield made


async def ask(face: Face, token: str = CONTROLLER, **change: Any) -> httpx.Response:
    query = {
        "id": "team-a/chat", "namespaces": ["team-a"], "source": SOURCE, "spans": [{"start": HOUR, "end": HOUR + 3600}],
    } | change  # fmt: skip
    return await face.client.post(
        "/v1/targets/query", json={"queries": [query]}, headers={"Authorization": f"Bearer {token}"}
    )


async def test_operator_and_tenant_get_the_same_figures_of_the_hours_that_were_counted(face: Face) -> None:
    an_hour(face.engine, a_counter(face.engine, "team-a"), HOUR, {("team-a", "web"): 500})
    answers = [TargetAnswers(**(await ask(face, token)).json()) for token in (CONTROLLER, TENANT, "user:lead@*")]
    assert answers[0] == answers[1] == answers[2]
    (span,) = answers[0].answers[0].spans
    assert (span.units_micro, span.known_hours, span.hours, span.missing) == (500 * MICRO, 1, 1, "")
    assert span.emissions_ug > 0


async def test_the_right_is_that_of_budgets_and_a_query_needs_it_in_all_namespaces(face: Face) -> None:
    assert (await ask(face, "user:dev@team-b")).status_code == 403
    assert (await ask(face, TENANT, namespaces=["team-a", "team-b"])).status_code == 403
    assert (await ask(face, TENANT, namespaces=["*"])).status_code == 403
    assert (await ask(face, TENANT, source={"query": "sum(x)"})).status_code == 403
    assert (await ask(face, source={"query": "sum(x)"})).status_code == 200


@pytest.mark.parametrize("token", [CONTROLLER, TENANT])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spans": [{"start": HOUR, "end": HOUR}]}, "end must be after start"),
        ({"spans": [{"start": HOUR + 60, "end": HOUR + 3600}]}, "full hours of UTC"),
        ({"spans": [{"start": 0, "end": HOUR}]}, "at most 1830 days"),
        ({"source": {}}, "give one of preset, counter, client and query"),
        ({"source": {"preset": "vLLMRequests", "client": "x"}}, "give one of preset, counter, client and query"),
    ],
)
async def test_a_question_that_has_no_answer_is_refused_in_a_sentence(
    face: Face, token: str, change: dict[str, Any], said: str
) -> None:
    answer = await ask(face, token, **change)
    assert (answer.status_code, said in answer.json()["reason"]) == (422, True), answer.text


@pytest.mark.parametrize(
    "change", [{"source": {"preset": "none"}}, {"spans": [{}]}, {"id": ""}, {"namespaces": []}, {"more": 1}]
)
async def test_a_question_of_another_form_is_malformed(face: Face, change: dict[str, Any]) -> None:
    assert (await ask(face, **change)).status_code == 400


async def test_labels_are_selected_by_the_operators_question_alone(face: Face) -> None:
    async def stored() -> list[str]:
        with face.engine.connect() as connection:
            return sorted(set(connection.scalars(sa.text("SELECT key FROM selected_label"))))

    await ask(face, TENANT, selector={"matchLabels": {"app": "web"}})
    assert await stored() == []
    await ask(face, CONTROLLER, selector={"matchLabels": {"app": "web"}})
    assert await stored() == ["app"]


def test_counters_are_wanted_once_since_the_earliest_hour_and_in_each_namespace_with_pods(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    make_tables(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("INSERT INTO node (id, cluster, name) VALUES (1, 'default', 'n')"))
        connection.execute(sa.text("INSERT INTO label_set (id, digest, labels) VALUES (1, 'x', '{}')"))
        connection.execute(sa.text("INSERT INTO node (id, cluster, name) VALUES (2, 'another-cluster', 'n')"))
        for number, (node, name) in enumerate([(1, "team-a"), (1, "team-b"), (1, "team-b"), (2, "theirs")]):
            connection.execute(
                sa.text(
                    "INSERT INTO pod (node_id, uid, label_set_id, namespace, name) VALUES (:node, :uid, 1, :name, 'p')"
                ),
                {"uid": str(number), "name": name, "node": node},
            )
    wanted: list[WantedCounter] = []

    def a_target(source: ClusterUnitSource, start: int, *names: str) -> TargetQuery:
        spans = [TargetSpan(start=start, end=start + 7200), TargetSpan(start=start + 3600, end=start + 7200)]
        return TargetQuery(id="x", namespaces=list(names), source=source, spans=spans)

    whole, client = ClusterUnitSource(query="sum(x)"), ClusterUnitSource(client="images")
    wrong = ClusterUnitSource.model_validate({"counter": {"metric": "no metric"}})
    TargetCounters(engine, "default", lambda found, _: wanted.extend(found)).register(
        [
            a_target(REQUESTS, 7200, "team-a"), a_target(REQUESTS, 3600, "team-a"), a_target(client, 0, "team-a"),
            a_target(whole, 3600, "team-a", "team-b"), a_target(wrong, 0, "team-a"),
            a_target(ClusterUnitSource(preset="vLLMRequests"), 3600, EVERY_NAMESPACE),
        ],
        9999,
    )  # fmt: skip
    engine.dispose()
    preset = expression_of(ClusterUnitSource(preset="vLLMRequests"))
    assert len(wanted) == len(set(wanted))
    assert set(wanted) == {
        WantedCounter("team-a", expression_of(REQUESTS), 3600),
        WantedCounter("", expression_of(whole), 3600, True),
        WantedCounter("team-a", preset, 3600, True),
        WantedCounter("team-b", preset, 3600, True),
    }
