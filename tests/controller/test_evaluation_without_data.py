"""The status while there is no answer or the budget is not valid, and what the next answer makes of it."""

from __future__ import annotations

from tests.controller.evaluations import (
    BLOCK,
    GRAM,
    KILO,
    SUSPEND,
    an_answer,
    conditions,
    evaluated,
    status_of,
    unanswered,
    written,
)
from tests.controller.objects import DECEMBER, NOW, a_body, merge, stored

from carbonbudget_operator.controller.budget_evaluation import (
    evaluate_invalid,
)
from carbonbudget_operator.controller.status_json import is_visible_change


def test_without_data_the_last_verdict_stands_and_a_condition_says_why() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO))
    made = unanswered(body)
    assert set(made.status) == {"conditions", "observedGeneration", "kindsNotEnforced"}
    assert made.blocking is True
    assert is_visible_change(body, made.status)
    assert conditions(status_of(made))["DataComplete"] == ("False", "ServerUnavailable")


def test_without_data_a_block_is_renewed_or_dropped_as_the_budget_says() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO))
    kept = unanswered(body, NOW + 4 * 3600)
    assert status_of(kept)["enforcement"]["until"] == "2026-11-24T04:53:20Z"
    careful = written(a_body(thresholds=BLOCK, onMissingData="Unknown"), an_answer(6 * KILO))
    dropped = unanswered(careful, NOW + 4 * 3600)
    assert (status_of(dropped)["state"], status_of(dropped)["enforcement"]) == ("Unknown", None)
    assert dropped.blocking is False
    assert "no data now; last known: used 6kg" in dropped.message


def test_a_limit_raised_without_data_unblocks_and_the_status_says_which_generation_was_evaluated() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO, settled_ug=6 * KILO, settled_energy_uj=100))
    body["metadata"]["generation"] = 4
    body["spec"] |= {"limit": "50kg", "selector": {"matchLabels": {"a": "b"}}}
    made = unanswered(body, NOW + 600)
    assert (status_of(made)["enforcement"], made.blocking) == (None, False)
    assert (status_of(made)["observedGeneration"], status_of(made)["evaluatedGeneration"]) == (4, 3)
    assert conditions(status_of(made))["Ready"] == ("Unknown", "WaitingForReports")  # other pods count now
    merge(body, {"status": made.status})
    after = status_of(evaluated(body, an_answer(GRAM, settled_ug=GRAM, settled_energy_uj=1), NOW + 1200))
    assert (after["evaluatedGeneration"], after["used"]) == (4, "1g")
    assert conditions(after)["DataComplete"] == ("True", "Complete")


def test_a_lowered_limit_suspends_by_the_highest_reading_also_after_a_restart() -> None:
    body = written(a_body(thresholds=SUSPEND, limit="10kg"), an_answer(6 * KILO))
    body["metadata"]["generation"] = 4
    body["spec"] |= {"limit": "6kg", "contact": "#ml"}
    after = status_of(evaluated(body, an_answer(5 * KILO), NOW + 60))
    assert (after["used"], after["action"], after["evaluatedGeneration"]) == ("6kg", "Suspend", 4)


def test_the_status_of_an_earlier_version_starts_again_after_an_edit_and_gets_the_hash() -> None:
    body = written(a_body(), an_answer(6 * KILO))
    del body["status"]["counted"]
    assert not is_visible_change(body, status_of(evaluated(body, an_answer(6 * KILO))))  # its CRD drops the field
    body["metadata"]["generation"] = 4
    after = status_of(evaluated(body, an_answer(GRAM), NOW + 60))
    assert (after["used"], after["counted"]["generation"]) == ("1g", 4)


def test_a_hash_that_an_older_controller_left_behind_is_ignored() -> None:
    """It writes the use of the edited selector and leaves the unknown field; then the selector is edited back."""
    body = written(a_body(), an_answer(GRAM))
    body["status"] |= {"evaluatedGeneration": 4, "usedMicrograms": 6 * KILO}
    body["metadata"]["generation"] = 5
    assert status_of(evaluated(body, an_answer(GRAM), NOW + 60))["used"] == "1g"


def test_before_the_first_data_a_budget_is_unknown_and_blocks_nothing() -> None:
    status = status_of(unanswered(a_body()))
    assert (status["state"], status["enforcement"]) == ("Unknown", None)
    assert "used" not in status


def test_a_period_that_begins_without_data_is_unknown_and_the_former_is_not_forgotten() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO), DECEMBER - 60)
    merge(body, {"status": unanswered(body, DECEMBER + 60).status})
    assert body["status"]["state"] == "Unknown"
    assert "enforcement" not in body["status"]
    assert written(body, an_answer(KILO), DECEMBER + 600)["status"]["history"][0]["end"] == "2026-12-01T00:00:00Z"


def test_a_budget_that_cannot_be_evaluated_blocks_nothing() -> None:
    made = evaluate_invalid(stored(a_body(limit="much")), "write a number", NOW)
    assert (status_of(made)["enforcement"], made.blocking) == (None, False)
    kinds = ("FiguresExact", "EnforcementEffective", "DataComplete", "WithinBudget")
    assert conditions(status_of(made)) == {"Ready": ("False", "BadSpec")} | dict.fromkeys(kinds, ("Unknown", "BadSpec"))


def test_a_budget_that_cannot_be_evaluated_keeps_the_generation_that_was() -> None:
    """Or its old use would bind the next verdict of that generation, as if it were its own."""
    body = written(a_body(), an_answer(6 * KILO, settled_ug=6 * KILO, settled_energy_uj=100))
    body["metadata"]["generation"] = 4
    body["spec"]["include"] = ["Dynamic"]
    status = status_of(evaluate_invalid(stored(body), "write a number", NOW))
    merge(body, {"status": status})
    assert (body["status"]["observedGeneration"], body["status"]["evaluatedGeneration"]) == (4, 3)
    assert {c["observedGeneration"] for c in status["conditions"]} == {4}
    after = status_of(evaluated(body, an_answer(GRAM, settled_ug=GRAM, settled_energy_uj=1)))
    assert (after["evaluatedGeneration"], after["used"]) == (4, "1g")


# --- whether it is ready ----------------------------------------------------------------------------------------------


def test_a_new_budget_without_reports_is_not_known_to_be_ready_and_says_why() -> None:
    status = status_of(unanswered(a_body()))
    assert conditions(status)["Ready"] == ("Unknown", "WaitingForReports")
    assert conditions(status)["EnforcementEffective"] == ("True", "Effective")
    assert status["observedGeneration"] == 3
    assert "evaluatedGeneration" not in status


def test_a_budget_stays_ready_while_the_server_is_away() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO))
    status = status_of(unanswered(body, NOW + 3600))
    assert conditions(status)["Ready"] == ("True", "Evaluated")
    (before,) = [one for one in body["status"]["conditions"] if one["type"] == "Ready"]
    assert before in status["conditions"], "also its time"


def test_a_spec_that_is_mended_while_the_server_is_away_is_bad_no_more() -> None:
    body = written(a_body(), an_answer(6 * KILO))
    body["metadata"]["generation"] = 4
    merge(body, {"status": evaluate_invalid(stored(body), "write a number", NOW).status})
    body["metadata"]["generation"] = 5
    status = status_of(unanswered(body, NOW + 60))
    assert conditions(status)["Ready"] == ("True", "Evaluated")  # it counts what it counted before
    assert conditions(status)["FiguresExact"] == ("Unknown", "WaitingForReports")
    assert "BadSpec" not in str(status)
    new = a_body(limit="5kg")
    merge(new, {"status": evaluate_invalid(stored(new), "write a number", NOW).status})
    assert conditions(status_of(unanswered(new)))["Ready"] == ("Unknown", "WaitingForReports")


def test_every_status_is_of_the_generation_that_was_seen() -> None:
    """`kubectl wait` and tools that follow a rollout compare it with metadata.generation."""
    body = written(a_body(), an_answer(KILO))
    body["metadata"]["generation"] = 9
    for made in (
        evaluated(body, an_answer(KILO)), unanswered(body), unanswered(a_body() | {"metadata": body["metadata"]}),
        evaluate_invalid(stored(body), "write a number", NOW),
    ):  # fmt: skip
        status = status_of(made)
        assert status["observedGeneration"] == 9
        assert [one["observedGeneration"] for one in status["conditions"] if one["type"] == "Ready"] == [9]


def test_a_condition_that_cannot_be_read_does_not_get_into_the_next_status() -> None:
    body = a_body()
    body["status"] = {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": {"new": "form"}}]}
    (found, *_) = status_of(evaluate_invalid(stored(body), "write a number", NOW))["conditions"]
    assert found["lastTransitionTime"] == "2026-11-23T18:53:20Z"
