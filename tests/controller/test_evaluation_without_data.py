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
    assert set(made.status) == {"conditions"}
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
    assert status_of(made)["observedGeneration"] == 3
    merge(body, {"status": made.status})
    after = status_of(evaluated(body, an_answer(GRAM, settled_ug=GRAM, settled_energy_uj=1), NOW + 1200))
    assert (after["observedGeneration"], after["used"]) == (4, "1g")
    assert conditions(after)["DataComplete"] == ("True", "Complete")


def test_a_lowered_limit_suspends_by_the_highest_reading_also_after_a_restart() -> None:
    body = written(a_body(thresholds=SUSPEND, limit="10kg"), an_answer(6 * KILO))
    body["metadata"]["generation"] = 4
    body["spec"] |= {"limit": "6kg", "contact": "#ml"}
    after = status_of(evaluated(body, an_answer(5 * KILO), NOW + 60))
    assert (after["used"], after["action"], after["observedGeneration"]) == ("6kg", "Suspend", 4)


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
    body["status"] |= {"observedGeneration": 4, "usedMicrograms": 6 * KILO}
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
    assert conditions(status_of(made)) == {"Ready": ("False", "BadSpec")}


def test_a_budget_that_cannot_be_evaluated_keeps_the_generation_that_was() -> None:
    """Or its old use would bind the next verdict of that generation, as if it were its own."""
    body = written(a_body(), an_answer(6 * KILO, settled_ug=6 * KILO, settled_energy_uj=100))
    body["metadata"]["generation"] = 4
    body["spec"]["include"] = ["Dynamic"]
    status = status_of(evaluate_invalid(stored(body), "write a number", NOW))
    merge(body, {"status": status})
    assert body["status"]["observedGeneration"] == 3
    assert [c["observedGeneration"] for c in status["conditions"]] == [4]
    after = status_of(evaluated(body, an_answer(GRAM, settled_ug=GRAM, settled_energy_uj=1)))
    assert (after["observedGeneration"], after["used"]) == (4, "1g")
