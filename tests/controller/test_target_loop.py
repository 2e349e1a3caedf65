"""The target loop: what it asks, writes, reports and posts."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from tests.controller.target_bench import DAY, HOUR, TargetBench, at
from tests.controller.target_statuses import AT_END, conditions, frozen

from carbonbudget_operator.api.target_query_bodies import TargetAnswers, TargetQuery
from carbonbudget_operator.server_client import ServerUnavailable


async def test_the_baseline_is_frozen_when_its_span_is_reported(targets: TargetBench) -> None:
    body = targets.add("chatbot")
    await targets.evaluate("2026-11-01T23:00")
    assert body["status"]["state"] == "NoData"
    assert "baseline" not in body["status"]
    assert body["status"]["current"]["perUnit"] == "100g"
    assert conditions(body)["BaselineFrozen"] == ("False", "Waiting")
    await targets.evaluate("2026-11-02")
    baseline = body["status"]["baseline"]
    assert (baseline["perUnitMicrograms"], baseline["frozenAt"]) == (100_000_000, "2026-11-02T00:01:00Z")
    assert (baseline["measured"]["units"], baseline["measured"]["knownHours"]) == ("24000", 24)
    assert conditions(body) == {
        "Ready": ("True", "Evaluated"),
        "BaselineFrozen": ("True", "Frozen"),
        "UnitsAvailable": ("True", "Complete"),
        "BaselineComparable": ("Unknown", "MethodNotRecorded"),  # the played server is of an earlier version
        "OnTrack": ("True", "OnTrack"),
    }
    assert targets.world.events == [("team-a", "BaselineFrozen")]
    assert targets.world.messages[-1].startswith("the baseline is 100g CO2e per 1,000 token; it stays until")


async def test_it_goes_from_on_track_to_behind_to_violated_and_to_achieved_with_an_event_each(
    targets: TargetBench,
) -> None:
    body = await frozen(targets)
    targets.server.grams = {at("2026-11-02"): 90, at("2026-11-19"): 95, at("2026-11-24"): 80}
    states = []
    for day in ("2026-11-12", "2026-11-17", "2026-11-18", "2026-11-20", "2026-11-25"):
        await targets.evaluate(day)
        states.append(body["status"]["state"])
    assert states == ["OnTrack", "OnTrack", "Behind", "Violated", "Achieved"]
    assert targets.world.events == [
        ("team-a", "TargetBehind"), ("team-a", "TargetViolated"), ("team-a", "TargetAchieved"),
    ]  # fmt: skip
    assert body["status"]["change"] == "-20.0"
    assert body["status"]["message"].startswith("carbon target chatbot: Achieved, 80g CO2e per 1,000 token (-20.0 %)")


async def test_its_figures_are_what_was_emitted_per_unit_and_what_the_path_asks_for(targets: TargetBench) -> None:
    body = await frozen(targets)
    targets.server.grams = {at("2026-11-02"): 93}
    await targets.evaluate("2026-11-17")
    status = body["status"]
    assert (status["current"]["perUnit"], status["current"]["units"]) == ("93g", "24000")
    assert status["expectedNow"] == {"perUnit": "90g", "perUnitMicrograms": 90_000_000, "reduction": "10.0"}
    assert (status["state"], status["change"], status["atBaselineGrid"]) == ("Behind", "-7.0", "100g")


async def test_its_metrics_are_the_figures_of_the_status(targets: TargetBench) -> None:
    await frozen(targets)
    targets.server.grams = {at("2026-11-02"): 93}
    await targets.evaluate("2026-11-17")
    await targets.evaluate("2026-11-17T01:00")
    labels = 'kind="CarbonTarget",name="chatbot",namespace="team-a"'
    grams = targets.series("carbonbudget_target_grams_per_unit")
    assert {key: round(value, 3) for key, value in grams.items()} == {
        f'{{figure="current",{labels}}}': 93,
        f'{{figure="expected",{labels}}}': 89.972,
        f'{{figure="baseline",{labels}}}': 100,
    }
    states = targets.series("carbonbudget_target_state")
    assert [key for key, value in states.items() if value] == [f'{{{labels},state="Behind"}}']
    assert targets.series("carbonbudget_target_units_known_ratio") == {f"{{{labels}}}": 1}
    assert targets.series("carbonbudget_target_saved_grams") == {
        f"{{{labels}}}": 0
    }  # the same energy: the grid's merit
    targets.world.objects.clear()
    targets.store.seen(next(iter(targets.store.snapshot().values())).resource, "DELETED",
                       next(iter(targets.store.snapshot().values())).body)  # fmt: skip
    await targets.evaluate("2026-11-17T02:00")
    assert targets.series("carbonbudget_target_grams_per_unit") == targets.series("carbonbudget_target_state") == {}


async def test_between_two_hours_it_asks_only_up_to_when_there_are_data(targets: TargetBench) -> None:
    await frozen(targets)
    await targets.evaluate("2026-11-02T01:00")
    targets.server.asked.clear()
    await targets.evaluate("2026-11-02T01:30")
    assert targets.server.asked == [[]]
    await targets.evaluate("2026-11-02T02:00")
    assert [len(queries) for queries in targets.server.asked] == [0, 0, 1]


async def test_an_edit_is_evaluated_at_once(targets: TargetBench) -> None:
    body = await frozen(targets)
    await targets.evaluate("2026-11-02T01:00")
    targets.edit(body, tolerance=9)
    await targets.evaluate("2026-11-02T01:01")
    assert body["status"]["observedGeneration"] == 2


async def test_all_targets_are_asked_about_in_one_question(targets: TargetBench) -> None:
    for number in range(30):
        targets.add(f"t{number}")
    await targets.evaluate("2026-11-02")
    assert [len(queries) for queries in targets.server.asked] == [0, 30]


async def test_an_hour_whose_units_come_later_is_asked_for_again_after_ten_minutes(targets: TargetBench) -> None:
    body = await frozen(targets)
    targets.server.lag_hours = 1
    await targets.evaluate("2026-11-05T12:00")
    assert body["status"]["current"]["hoursPercent"] == 95
    assert conditions(body)["UnitsAvailable"] == ("True", "SomeHoursMissing")
    targets.server.lag_hours = 0
    await targets.evaluate("2026-11-05T12:00", lag_s=120)
    assert body["status"]["current"]["hoursPercent"] == 95
    await targets.evaluate("2026-11-05T12:00", lag_s=60 + 600)
    assert conditions(body)["UnitsAvailable"] == ("True", "Complete")


async def test_a_status_is_written_only_if_a_person_would_see_a_change(targets: TargetBench) -> None:
    body = await frozen(targets, target=AT_END)
    await targets.evaluate("2026-11-05T12:00")
    before = body["status"]["dataThrough"]
    for hour in range(13, 18):
        assert await targets.evaluate(f"2026-11-05T{hour}:00") == []
    assert body["status"]["dataThrough"] == before
    assert await targets.evaluate("2026-11-05T18:00") != []  # six hours later its window is written all the same
    assert body["status"]["dataThrough"] == "2026-11-05T18:00:00Z"


async def test_missing_units_are_no_data_and_never_zero(targets: TargetBench) -> None:
    body = await frozen(targets, target=AT_END)
    await targets.evaluate("2026-11-05")
    targets.server.unknown = set(range(at("2026-11-05"), at("2026-11-05T13:00"), HOUR))
    await targets.evaluate("2026-11-05T12:00")
    assert body["status"]["state"] == "OnTrack"
    await targets.evaluate("2026-11-05T13:00")
    assert body["status"]["state"] == "NoData"
    assert "current" not in body["status"]
    assert "units of 11 of the 24 hours of the window are known" in body["status"]["message"]
    assert conditions(body)["OnTrack"] == ("Unknown", "NoData")
    assert conditions(body)["UnitsAvailable"] == ("False", "NoUnits")
    assert targets.world.events == [("team-a", "TargetNoData")]
    assert [key for key in targets.series("carbonbudget_target_grams_per_unit") if 'figure="current"' in key] == []


async def test_emissions_that_no_node_reported_are_neither_a_good_figure_nor_a_saving(targets: TargetBench) -> None:
    body = await frozen(targets)
    targets.server.grams, targets.server.energy_j = {at("2026-11-02"): 40}, 40
    targets.server.coverage_percent = 94
    await targets.evaluate("2026-11-03T01:00")
    assert body["status"]["state"] == "Achieved"
    assert "savings" not in body["status"]["history"][0]
    targets.server.coverage_percent = 95  # reports that came late
    await targets.evaluate("2026-11-03T02:00")
    assert body["status"]["history"][0]["savings"]["micrograms"] == 24 * 60 * 10**6
    targets.server.coverage_percent = 49
    await targets.evaluate("2026-11-04T01:00")
    assert body["status"]["state"] == "NoData"
    assert "49 % of the nodes' time was reported in the window" in body["status"]["message"]


async def test_a_server_that_is_away_leaves_figures_and_states_and_says_so(targets: TargetBench) -> None:
    body = await frozen(targets, target=AT_END)
    await targets.evaluate("2026-11-05")
    before = {key: body["status"][key] for key in ("current", "state", "baseline")}
    targets.server.up = False
    await targets.evaluate("2026-11-05T01:00")
    assert conditions(body)["Ready"] == ("False", "ServerUnavailable")
    assert conditions(body)["OnTrack"] == ("True", "OnTrack")
    assert {key: body["status"][key] for key in before} == before
    assert await targets.evaluate("2026-11-05T01:01") == []  # once
    targets.server.up = True
    await targets.evaluate("2026-11-05T01:02")
    assert conditions(body)["Ready"] == ("True", "Evaluated")
    assert targets.world.events == []


async def test_before_the_first_report_it_says_so(targets: TargetBench) -> None:
    body = targets.add("chatbot")
    await targets.evaluate("1970-01-01")
    assert conditions(body)["Ready"] == ("False", "NoReports")
    assert body["status"]["state"] == "NoData"


async def test_a_broken_target_stops_no_other(targets: TargetBench, caplog: pytest.LogCaptureFixture) -> None:
    good = targets.add("good")
    bad = targets.add("bad", timeZone="Mars/Phobos")
    odd = targets.add("odd")
    targets.server.broken = {"team-a/odd"}
    await targets.evaluate("2026-11-02")
    assert good["status"]["state"] == "OnTrack"
    assert conditions(bad)["Ready"] == ("False", "BadSpec")
    assert bad["status"]["message"] == "'Mars/Phobos' is no time zone: write one such as Europe/Paris or UTC"
    assert odd["status"]["message"] == "this target cannot be evaluated (ValueError): see the controller's log"
    assert targets.failures() == 1
    await targets.evaluate("2026-11-02T00:01")
    assert len([one for one in caplog.records if "cannot be evaluated" in one.getMessage()]) == 1


async def test_a_write_that_is_refused_is_tried_again_and_stops_no_other(targets: TargetBench) -> None:
    targets.add("good")
    gone = targets.add("gone")
    await targets.evaluate("2026-11-01T10:00")
    gone["metadata"]["uid"] = "made-anew"
    stale = targets.store.snapshot()["team-a/gone"]
    assert stale.uid == "gone"
    targets.server.through = at("2026-11-02")
    targets.world.now += DAY
    await targets.loop.evaluate()
    assert targets.failures() == 1
    await targets.evaluate("2026-11-02T00:02")
    assert gone["status"]["baseline"]["perUnit"] == "100g"


async def test_a_target_of_the_cluster_counts_the_namespaces_that_its_selector_selects(targets: TargetBench) -> None:
    targets.add_cluster_wide("all")
    targets.add_cluster_wide("teams", namespaceSelector={"matchLabels": {"kind": "team"}})
    none = targets.add_cluster_wide("none", namespaceSelector={"matchLabels": {"kind": "x"}})
    await targets.evaluate("2026-11-02")
    assert [(query.id, query.namespaces) for query in targets.server.asked[-1]] == [("/all", ["*"])]
    for name, kind in (("team-a", "team"), ("team-b", "team"), ("other", "y")):
        targets.namespaces.seen("ADDED", {"metadata": {"name": name, "labels": {"kind": kind}}})
    targets.namespaces.listed = True
    await targets.evaluate("2026-11-02T01:00")
    assert {query.id: query.namespaces for query in targets.server.asked[-1]} == {
        "/all": ["*"], "/teams": ["team-a", "team-b"],
    }  # fmt: skip
    assert "selects no namespace" in none["status"]["message"]


async def test_a_unit_name_of_an_older_object_cannot_control_a_terminal(targets: TargetBench) -> None:
    body = targets.add("chatbot", unit={"name": "\x1b[2Jtoken", "source": {"client": "x"}})
    await targets.evaluate("2026-11-02")
    assert body["status"]["message"].isprintable()


async def test_a_batch_that_is_not_answered_leaves_the_others_as_they_were_answered(
    targets: TargetBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = [targets.add(f"t{number}") for number in range(4)]
    monkeypatch.setattr("carbonbudget_operator.controller.target_loop._AT_ONCE", 2)
    answered = targets.server.targets

    async def second_fails(queries: Sequence[TargetQuery]) -> TargetAnswers:
        if any(query.id == "team-a/t2" for query in queries):
            raise ServerUnavailable("the server does not answer: played")
        return await answered(queries)

    monkeypatch.setattr(targets.server, "targets", second_fails)
    await targets.evaluate("2026-11-02")
    assert [conditions(body)["Ready"][1] for body in bodies] == ["Evaluated", "Evaluated", *["ServerUnavailable"] * 2]
    monkeypatch.undo()
    await targets.evaluate("2026-11-02T00:01")
    assert [conditions(body)["Ready"][1] for body in bodies] == ["Evaluated"] * 4


async def test_a_selector_that_selects_a_namespace_again_is_noticed_within_ten_minutes(targets: TargetBench) -> None:
    body = targets.add_cluster_wide("teams", namespaceSelector={"matchLabels": {"kind": "team"}})
    targets.namespaces.listed = True
    await targets.evaluate("2026-11-02")
    assert conditions(body)["Ready"] == ("False", "BadSpec")
    targets.namespaces.seen("ADDED", {"metadata": {"name": "team-a", "labels": {"kind": "team"}}})
    await targets.evaluate("2026-11-02", lag_s=660)
    assert conditions(body)["Ready"] == ("True", "Evaluated")


async def test_while_the_server_is_away_an_edit_to_a_bad_spec_is_told(targets: TargetBench) -> None:
    body = await frozen(targets)
    targets.server.up = False
    await targets.evaluate("2026-11-02T01:00")
    targets.edit(body, timeZone="Mars/Phobos")
    await targets.evaluate("2026-11-02T01:01")
    assert conditions(body)["Ready"] == ("False", "BadSpec")
    others = {kind: found for kind, found in conditions(body).items() if kind != "Ready"}
    assert others == dict.fromkeys(("BaselineFrozen", "UnitsAvailable", "OnTrack"), ("Unknown", "BadSpec"))
    assert (body["status"]["observedGeneration"], body["status"]["evaluatedGeneration"]) == (2, 1)
    targets.edit(body, timeZone="UTC")  # also the correction, and it is not said to be bad any more
    await targets.evaluate("2026-11-02T01:02")
    assert conditions(body)["Ready"] == ("False", "ServerUnavailable")
    assert conditions(body)["OnTrack"] == ("Unknown", "WaitingForReports")
    assert "BadSpec" not in str(body["status"])
    assert "Mars" not in body["status"]["message"]
    assert (body["status"]["observedGeneration"], body["status"]["evaluatedGeneration"]) == (3, 1)


async def test_nothing_ends_the_loop_and_an_edit_starts_an_evaluation(
    targets: TargetBench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated = asyncio.Event()
    calls: list[int] = []

    async def evaluate() -> None:
        calls.append(1)
        evaluated.set()
        raise RuntimeError("played")

    monkeypatch.setattr(targets.loop, "evaluate", evaluate)
    targets.world.now = float(at("2026-11-02"))
    running = asyncio.create_task(targets.loop.run())
    try:
        targets.store.changed.set()
        async with asyncio.timeout(10):
            await evaluated.wait()
        await asyncio.sleep(0)
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert calls == [1]
    assert targets.failures() == 1
    assert "the evaluation of targets failed; the next minute tries again" in caplog.text


async def test_units_of_an_absurd_size_are_written_as_numbers_that_the_api_takes(targets: TargetBench) -> None:
    body = targets.add("chatbot", unit={"name": "t", "per": 10**9, "source": {"client": "x"}})
    targets.server.grams = {0: 10**9}  # a thousand tonnes an hour
    targets.server.units = 1
    await targets.evaluate("2026-11-02")
    assert body["status"]["current"]["perUnitMicrograms"] == 2**63 - 1
