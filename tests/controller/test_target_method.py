"""A target is compared with a baseline of the same method alone: what another method makes less is no saving."""

from __future__ import annotations

from typing import Any

import pytest
from tests.controller.target_bench import TargetBench, at
from tests.controller.target_statuses import conditions, frozen

BEFORE = ('allocation.idle "byRequest"', "carbon.embodied.life_years 4", "carbon.pue 1.58")
AFTER = ('allocation.idle "byRequest"', "carbon.embodied.life_years 4", "carbon.pue 1.2")
FIRST, CHANGE = at("2026-11-01"), at("2026-11-03")


@pytest.fixture
def methods(targets: TargetBench) -> TargetBench:
    """A tenth less than the baseline from the second day on, with the method of BEFORE."""
    targets.server.methods = {FIRST: BEFORE}
    targets.server.grams, targets.server.energy_j = {at("2026-11-02"): 90}, 90
    return targets


def said(body: dict[str, Any], kind: str) -> str:
    return next(one["message"] for one in body["status"]["conditions"] if one["type"] == kind)


async def test_the_baseline_keeps_the_settings_that_its_figure_depends_on(methods: TargetBench) -> None:
    body = await frozen(methods)
    assert body["status"]["baseline"]["method"] == list(BEFORE)
    assert conditions(body)["BaselineComparable"] == ("True", "SameMethod")
    without = methods.add("operational", include=["Dynamic", "Idle"], basis="Efficiency")
    await methods.evaluate("2026-11-02T01:00")
    assert without["status"]["baseline"]["method"] == ['allocation.idle "byRequest"']


async def test_a_window_with_an_hour_of_another_method_has_a_figure_and_neither_state_nor_savings(
    methods: TargetBench,
) -> None:
    body = await frozen(methods)
    methods.server.methods = {FIRST: BEFORE, CHANGE: AFTER}
    await methods.evaluate("2026-11-04T01:00")
    status = body["status"]
    assert (status["state"], status["current"]["perUnit"], status.get("change")) == ("NoData", "90g", None)
    assert "NoData, the method changed since the baseline was frozen: write a baseline of" in status["message"]
    assert conditions(body)["OnTrack"] == ("Unknown", "NoData")
    assert conditions(body)["BaselineComparable"] == ("False", "MethodChanged")
    assert said(body, "BaselineComparable").endswith("(carbon.pue 1.58 -> 1.2)")
    history = [(one["figure"]["start"][:10], one["state"], "savings" in one) for one in status["history"]]
    assert history == [
        ("2026-11-03", "NoData", False), ("2026-11-02", "OnTrack", True), ("2026-11-01", "OnTrack", False),
    ]  # fmt: skip
    assert methods.world.events == [("team-a", "TargetNoData")]


async def test_a_window_keeps_what_it_saved_before_the_change(methods: TargetBench) -> None:
    body = await frozen(methods)
    await methods.evaluate("2026-11-03T01:00")
    saved = body["status"]["history"][0]["savings"]
    methods.server.methods = {FIRST: AFTER}  # without a date, so that all open hours are counted anew
    await methods.evaluate("2026-11-04T01:00")
    assert body["status"]["history"][1]["savings"] == saved


async def test_a_window_has_its_state_and_savings_again_when_the_setting_is_taken_back(methods: TargetBench) -> None:
    body = await frozen(methods)
    methods.server.methods = {FIRST: AFTER}  # without a date, and taken back an hour after the window's end
    await methods.evaluate("2026-11-04T00:30")
    assert (body["status"]["history"][0]["state"], "savings" in body["status"]["history"][0]) == ("NoData", False)
    methods.server.methods = {FIRST: BEFORE}
    await methods.evaluate("2026-11-04T01:30")
    newest = body["status"]["history"][0]
    assert (newest["figure"]["start"][:10], newest["state"], "savings" in newest) == ("2026-11-03", "OnTrack", True)


async def test_a_baseline_of_hours_after_the_change_is_compared_again(methods: TargetBench) -> None:
    body = await frozen(methods)
    methods.server.methods = {FIRST: BEFORE, CHANGE: AFTER}
    await methods.evaluate("2026-11-04T01:00")
    methods.edit(body, baseline={"start": "2026-11-03T00:00:00Z", "end": "2026-11-04T00:00:00Z"})
    await methods.evaluate("2026-11-04T02:00")
    await methods.evaluate("2026-11-05T02:00")
    assert (body["status"]["state"], conditions(body)["BaselineComparable"]) == ("Behind", ("True", "SameMethod"))
    assert body["status"]["baseline"]["method"] == list(AFTER)


async def test_a_change_inside_the_baselines_span_is_refused_with_what_to_do(methods: TargetBench) -> None:
    methods.server.methods = {FIRST: BEFORE, at("2026-11-01T12:00"): AFTER}
    body = methods.add("chatbot")
    await methods.evaluate("2026-11-02")
    sentence = "the method changed inside the baseline's span: choose a span after the change (carbon.pue 1.58 -> 1.2)"
    assert (body["status"]["state"], said(body, "BaselineFrozen")) == ("NoData", sentence)
    assert conditions(body)["BaselineComparable"] == ("Unknown", "NoBaseline")


async def test_what_a_target_does_not_depend_on_does_not_stop_it(methods: TargetBench) -> None:
    body = await frozen(methods, basis="Efficiency")  # at the baseline's grid no PUE counts
    methods.server.methods = {FIRST: BEFORE, CHANGE: AFTER}
    await methods.evaluate("2026-11-04T01:00")
    assert body["status"]["state"] != "NoData"
    assert "savings" in body["status"]["history"][0]


async def test_a_baseline_of_a_former_version_is_compared_as_before_and_gets_its_method_once_a_day(
    methods: TargetBench,
) -> None:
    methods.server.methods = {}
    body = await frozen(methods)
    assert "method" not in body["status"]["baseline"] or body["status"]["baseline"]["method"] is None
    assert conditions(body)["BaselineComparable"] == ("Unknown", "MethodNotRecorded")
    methods.server.methods = {FIRST: BEFORE}
    first = body["status"]["baseline"]["frozenAt"]
    for hour in range(24):
        await methods.evaluate(f"2026-11-03T{hour:02}:00")
        assert body["status"]["state"] != "NoData"
    assert body["status"]["baseline"]["method"] == list(BEFORE)
    assert body["status"]["baseline"]["frozenAt"] == first


async def test_a_former_baseline_whose_hours_give_another_figure_by_now_gets_no_method(methods: TargetBench) -> None:
    methods.server.methods = {}
    body = await frozen(methods)
    methods.server.methods, methods.server.factor_percent = {FIRST: AFTER}, 76
    for hour in range(24):
        await methods.evaluate(f"2026-11-03T{hour:02}:00")
    assert body["status"]["baseline"].get("method") is None
    assert body["status"]["baseline"]["restated"] == "76g"


async def test_a_stated_value_is_of_the_method_in_force_when_it_is_read_first(methods: TargetBench) -> None:
    body = methods.add("chatbot", baseline={"value": "200g"})
    methods.server.methods = {FIRST: BEFORE, CHANGE: AFTER}
    await methods.evaluate("2026-11-05")
    assert (body["status"]["baseline"]["method"], body["status"]["state"]) == (list(AFTER), "Achieved")
    methods.server.methods = {FIRST: BEFORE}
    await methods.evaluate("2026-11-05T01:00")
    assert (body["status"]["state"], conditions(body)["BaselineComparable"][1]) == ("NoData", "MethodChanged")


async def test_a_stated_value_that_was_read_without_a_method_gets_the_first_one_that_is_known(
    methods: TargetBench,
) -> None:
    body = methods.add("chatbot", baseline={"value": "200g"})
    methods.server.methods = {}
    await methods.evaluate("2026-11-05")
    assert body["status"]["baseline"].get("method") is None
    methods.server.methods = {FIRST: BEFORE}
    await methods.evaluate("2026-11-05T01:00")
    assert body["status"]["baseline"]["method"] == list(BEFORE)
    methods.server.methods = {FIRST: AFTER}
    await methods.evaluate("2026-11-05T02:00")
    assert (body["status"]["state"], conditions(body)["BaselineComparable"][1]) == ("NoData", "MethodChanged")
