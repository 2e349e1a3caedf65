"""From object and answer to status."""

from typing import Any

import pytest

from carbonbudget_operator.api.query import BudgetAnswer
from carbonbudget_operator.budgets.evaluate import State
from carbonbudget_operator.controller.judge import (
    BadBudget,
    bad_budget,
    differs,
    former_verdict,
    judge,
    no_data,
    prepare,
)

NOW = 1795460000  # 2026-11-23T18:53:20Z
Body = dict[str, Any]


def a_body(**spec: object) -> Body:
    return {
        "metadata": {"name": "monthly", "namespace": "team-a", "uid": "u", "generation": 3},
        "spec": {"limit": "5kg", "period": "Month"} | spec,
    }


def an_answer(used_ug: int, coverage: int = 100) -> BudgetAnswer:
    return BudgetAnswer(
        id="team-a/monthly", used_ug=used_ug, used_g="0", energy_uj=1, energy_kwh="0",
        coverage_percent=coverage, measured_percent=0,
    )  # fmt: skip


def settled(body: Body, used_ug: int, now: int = NOW) -> Body:
    """The body as it reads after a verdict was written."""
    case = prepare(body, now)
    _, status = judge(case, an_answer(used_ug), now, former_verdict(case.resource), now, 6 * 3600)
    return body | {"status": {key: value for key, value in status.items() if value is not None}}


def test_the_question_to_the_server_is_of_the_whole_period() -> None:
    query = prepare(a_body(selector={"matchLabels": {"a": "b"}}), NOW).query
    assert (query.id, query.namespaces, query.start, query.end) == (
        "team-a/monthly",
        ["team-a"],
        1793491200,
        1796083200,
    )
    assert query.selector is not None
    assert query.selector.matches({"a": "b"})


def test_a_status_is_read_back_to_the_verdict_that_wrote_it() -> None:
    body = settled(a_body(thresholds=[{"at": 100, "action": "Block"}]), 5_000_000_001)
    case = prepare(body, NOW)
    verdict, _ = judge(case, an_answer(5_000_000_001), NOW, None, NOW, 6 * 3600)
    assert former_verdict(case.resource) == verdict
    assert verdict.state is State.EXCEEDED


def test_nothing_that_a_person_sees_changed_means_nothing_to_write() -> None:
    body = settled(a_body(), 1_050_000_000)
    case = prepare(body, NOW + 60)
    _, status = judge(case, an_answer(1_050_000_100), NOW + 60, former_verdict(case.resource), NOW + 60, 6 * 3600)
    assert not differs(body, status)


def test_a_used_that_reads_differently_is_written() -> None:
    body = settled(a_body(), 1_000_000_000)
    case = prepare(body, NOW + 60)
    _, status = judge(case, an_answer(1_100_000_000), NOW + 60, former_verdict(case.resource), NOW + 60, 6 * 3600)
    assert differs(body, status)
    assert status["used"] == "1.1kg"


def test_a_block_that_ends_is_taken_out_of_the_status() -> None:
    body = settled(a_body(thresholds=[{"at": 100, "action": "Block"}]), 6_000_000_000)
    assert body["status"]["enforcement"]["until"] == "2026-11-24T00:53:20Z"
    raised = body | {"spec": body["spec"] | {"limit": "50kg"}, "metadata": body["metadata"] | {"generation": 4}}
    case = prepare(raised, NOW)
    _, status = judge(case, an_answer(6_000_000_000), NOW, former_verdict(case.resource), NOW, 6 * 3600)
    assert status["enforcement"] is None


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    body = settled(a_body(), 1, NOW)
    later = settled(body, 2, NOW + 600)
    times = {c["type"]: c["lastTransitionTime"] for c in later["status"]["conditions"]}
    assert set(times.values()) == {"2026-11-23T18:53:20Z"}


def test_gaps_in_the_data_show_as_a_condition() -> None:
    case = prepare(a_body(), NOW)
    _, status = judge(case, an_answer(1, coverage=80), NOW, None, NOW, 3600)
    conditions = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}  # type: ignore[attr-defined] # JSON
    assert conditions["DataComplete"] == ("False", "Gaps")


def test_without_data_the_last_verdict_stands_and_a_condition_says_why() -> None:
    body = settled(a_body(thresholds=[{"at": 100, "action": "Block"}]), 6_000_000_000)
    status = no_data(prepare(body, NOW), "ServerUnavailable", "the server does not answer", NOW)
    assert set(status) == {"conditions"}
    assert differs(body, status)


def test_before_the_first_data_a_budget_is_unknown_and_blocks_nothing() -> None:
    status = no_data(prepare(a_body(), NOW), "NoReports", "no node has reported yet", NOW)
    assert status["state"] == "Unknown"
    assert "enforcement" not in status


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"limit": "much"}, "must be a number with a unit"),
        ({"limit": None}, "spec.limit: Input should be a valid string"),
        ({"timeZone": "Mars/Phobos"}, "is no time zone"),
        ({"period": None}, "neither period nor start and end"),
        ({"period": None, "start": "2026-02-01T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "end must be after"),
        ({"selector": {"matchExpressions": [{"key": "", "operator": "In"}]}}, "key"),
    ],
)
def test_a_bad_budget_that_got_in_says_why_and_blocks_nothing(spec: dict[str, object], sentence: str) -> None:
    body = a_body(**spec)
    with pytest.raises(BadBudget, match=sentence) as error:
        prepare(body, NOW)
    status = bad_budget(body, str(error.value), NOW)
    assert status["enforcement"] is None
    assert status["conditions"][0]["reason"] == "BadSpec"  # type: ignore[index] # JSON
