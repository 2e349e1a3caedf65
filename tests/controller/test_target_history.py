"""The target loop keeps baselines and calendar windows: when they are computed, asked for again, and left alone."""

from __future__ import annotations

import copy

from tests.controller.target_bench import HOUR, TargetBench, at
from tests.controller.target_statuses import conditions, frozen


async def test_a_baseline_waits_for_reports_of_nodes_and_is_not_frozen_with_less_than_half(
    targets: TargetBench,
) -> None:
    body = targets.add("chatbot")
    targets.server.coverage_percent = 49
    await targets.evaluate("2026-11-02")
    assert "49 % of the nodes' time was reported in the baseline's span" in body["status"]["conditions"][1]["message"]
    assert "baseline" not in body["status"]
    targets.server.coverage_percent = 94
    await targets.evaluate("2026-11-02T01:00")
    assert "baseline" not in body["status"]
    await targets.evaluate("2026-11-04")
    assert body["status"]["baseline"]["measured"]["coverage"] == 94


async def test_a_baseline_with_missing_hours_waits_two_days_for_them(targets: TargetBench) -> None:
    body = targets.add("chatbot")
    targets.server.unknown = {at("2026-11-01T05:00")}
    for day in ("2026-11-02", "2026-11-03", "2026-11-03T23:00"):
        await targets.evaluate(day)
        assert "baseline" not in body["status"], day
    assert "units of 1 of the 24 hours of the baseline are missing" in body["status"]["message"]
    await targets.evaluate("2026-11-04")
    assert body["status"]["baseline"]["measured"]["hoursPercent"] == 95


async def test_the_missing_hour_that_comes_makes_a_whole_baseline(targets: TargetBench) -> None:
    body = targets.add("chatbot")
    targets.server.unknown = {at("2026-11-01T05:00")}
    await targets.evaluate("2026-11-02")
    targets.server.unknown = set()
    await targets.evaluate("2026-11-02T01:00")
    assert body["status"]["baseline"]["measured"]["hoursPercent"] == 100


async def test_a_baseline_without_data_says_what_to_do(targets: TargetBench) -> None:
    body = targets.add("chatbot")
    targets.server.units = 0
    await targets.evaluate("2026-11-02")
    assert body["status"]["state"] == "NoData"
    assert conditions(body)["BaselineFrozen"] == ("False", "Waiting")
    assert "no units were counted" in body["status"]["message"]


async def test_a_frozen_baseline_stays_when_factors_are_revised_and_the_new_figure_is_shown(
    targets: TargetBench,
) -> None:
    body = await frozen(targets)
    kept = {key: value for key, value in body["status"]["baseline"].items() if key != "restated"}
    targets.server.factor_percent = 110
    for hour in range(24):
        await targets.evaluate(f"2026-11-05T{hour:02}:00")
    assert body["status"]["baseline"] == kept | {"restated": "110g"}
    targets.server.factor_percent = 100
    for hour in range(24):
        await targets.evaluate(f"2026-11-06T{hour:02}:00")
    assert body["status"]["baseline"] == kept


async def test_the_long_span_of_the_baseline_is_asked_for_once_a_day(targets: TargetBench) -> None:
    await frozen(targets)
    asked = []
    for hour in range(24):
        await targets.evaluate(f"2026-11-05T{hour:02}:00")
        asked.append(("11-01T00", "11-02T00") in targets.server.spans_of("team-a/chatbot")[1:2])
    assert sum(asked) == 1


async def test_an_edit_of_what_the_baseline_depends_on_computes_it_again(targets: TargetBench) -> None:
    body = await frozen(targets)
    first = copy.deepcopy(body["status"]["baseline"])
    targets.server.grams = {at("2026-11-02"): 50}
    await targets.evaluate("2026-11-04")
    targets.edit(body, baseline={"start": "2026-11-02T00:00:00Z", "end": "2026-11-03T00:00:00Z"})
    await targets.evaluate("2026-11-04T00:30")
    again = body["status"]["baseline"]
    assert (again["perUnit"], again["frozenAt"]) == ("50g", "2026-11-04T00:31:00Z")
    assert again["hash"] != first["hash"]
    assert targets.world.events == [
        ("team-a", "TargetAchieved"), ("team-a", "BaselineFrozen"), ("team-a", "TargetBehind"),
    ]  # fmt: skip


async def test_an_edit_of_the_path_keeps_the_baseline(targets: TargetBench) -> None:
    body = await frozen(targets)
    first = copy.deepcopy(body["status"]["baseline"])
    targets.edit(body, target={"reduction": 30, "by": "2027-12-02T00:00:00Z"}, tolerance=1, minimumUnits=5)
    await targets.evaluate("2026-11-02T05:00")
    assert body["status"]["baseline"] == first


async def test_a_target_that_is_made_anew_has_a_new_baseline(targets: TargetBench) -> None:
    await frozen(targets)
    body = targets.add("chatbot", uid="another")
    await targets.evaluate("2026-11-02T05:00")
    assert body["status"]["baseline"]["frozenAt"] == "2026-11-02T05:01:00Z"


async def test_a_controller_that_restarts_keeps_the_baseline_and_posts_nothing_again(targets: TargetBench) -> None:
    body = await frozen(targets)
    targets.server.grams = {at("2026-11-02"): 120}
    await targets.evaluate("2026-11-04")
    assert targets.world.events == [("team-a", "TargetViolated")]
    first = dict(body["status"]["baseline"])
    targets.new_loop()
    targets.world.events.clear()
    await targets.evaluate("2026-11-04T01:00")
    assert body["status"]["baseline"] == first
    assert targets.world.events == []


async def test_a_baseline_that_the_watch_has_not_shown_yet_is_not_computed_twice(targets: TargetBench) -> None:
    body = targets.add("chatbot")
    await targets.evaluate("2026-11-02")
    first = dict(body["status"]["baseline"])
    written = body.pop("status")
    targets.server.factor_percent = 150
    await targets.evaluate("2026-11-02T01:00")
    assert body["status"]["baseline"]["perUnit"] == written["baseline"]["perUnit"]
    assert body["status"]["baseline"]["frozenAt"] == first["frozenAt"]


async def test_the_history_has_the_windows_that_are_over_with_their_savings(targets: TargetBench) -> None:
    body = await frozen(targets)
    targets.server.grams, targets.server.energy_j = {at("2026-11-02"): 90}, 90
    await targets.evaluate("2026-11-04T01:00")
    figures = [(one["figure"]["start"], one["state"], one.get("savings")) for one in body["status"]["history"]]
    assert figures[-1] == ("2026-11-01T00:00:00Z", "OnTrack", None)  # the baseline's own span saves nothing
    assert [one[0] for one in figures] == ["2026-11-03T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-01T00:00:00Z"]
    day = {"micrograms": 240_000_000, "absoluteFallMicrograms": 240_000_000, "microjoules": 240_000_000}
    assert figures[0][2] == figures[1][2] == day  # 10 J of each 100 in 24 hours, at the baseline's gram a joule


async def test_a_window_that_is_over_keeps_its_figure_when_path_and_factors_change(targets: TargetBench) -> None:
    body = await frozen(targets)
    await targets.evaluate("2026-11-03T01:00")
    kept = body["status"]["history"]
    targets.server.factor_percent = 150
    targets.edit(body, target={"reduction": 90, "by": "2026-11-05T00:00:00Z"})
    await targets.evaluate("2026-11-04T02:00")
    assert body["status"]["history"][1:] == kept


async def test_a_window_that_is_over_is_asked_for_again_until_its_units_are_there(targets: TargetBench) -> None:
    body = await frozen(targets)
    targets.server.lag_hours = 1
    await targets.evaluate("2026-11-03")
    assert body["status"]["history"][0]["figure"]["hoursPercent"] == 95
    await targets.evaluate("2026-11-03T01:00")
    assert body["status"]["history"][0]["figure"]["hoursPercent"] == 100
    targets.server.lag_hours = 0
    await targets.evaluate("2026-11-03T02:00")
    assert len(targets.server.spans_of("team-a/chatbot")) <= 2  # the window, and once a day the baseline


async def test_a_window_without_units_is_left_out_and_not_asked_for_for_ever(targets: TargetBench) -> None:
    body = await frozen(targets)
    targets.server.unknown = set(range(at("2026-11-03"), at("2026-11-04"), HOUR))
    for day in ("2026-11-05", "2026-11-06T01:00", "2026-11-06T02:00", "2026-11-07"):
        await targets.evaluate(day)
    assert [one["figure"]["start"][:10] for one in body["status"]["history"]] == [
        "2026-11-06", "2026-11-05", "2026-11-04", "2026-11-02", "2026-11-01",
    ]  # fmt: skip
    await targets.evaluate("2026-11-07T01:00")
    assert ("11-03T00", "11-04T00") not in targets.server.spans_of("team-a/chatbot")


async def test_a_stated_baseline_is_compared_at_once_and_its_path_begins_with_the_target(
    targets: TargetBench,
) -> None:
    body = targets.add("chatbot", baseline={"value": "200g"}, target={"reduction": 50, "by": "2026-11-21T12:00:00Z"})
    await targets.evaluate("2026-11-11T12:00")  # half of the time since its creation
    status = body["status"]
    assert (status["baseline"]["perUnit"], status["baseline"].get("measured")) == ("200g", None)
    assert (status["expectedNow"]["perUnit"], status["state"]) == ("150g", "Achieved")
