"""Namespaces of a ClusterCarbonTarget: those without units, and those that are gone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.controller.target_bench import HOUR, TargetBench, at
from tests.controller.target_statuses import conditions

from carbonbudget_operator.api.target_query_bodies import TargetQuery

TEAMS = {"matchLabels": {"teams": "yes"}}
LABELS = {"teams": "yes"}


def exist(targets: TargetBench, **labels: Mapping[str, str] | None) -> None:
    """Namespaces as the watch shows them; None for one that is deleted."""
    for name, its in labels.items():
        body = {"metadata": {"name": name, "labels": dict(its or {})}}
        targets.namespaces.seen("DELETED" if its is None else "MODIFIED", body)
    targets.namespaces.listed = True


def asked(targets: TargetBench) -> tuple[list[str], dict[str, int]]:
    query = [query for queries in targets.server.asked for query in queries if query.id == "/all"][-1]
    return query.namespaces, query.until


async def frozen_all(targets: TargetBench) -> dict[str, Any]:
    body = targets.add_cluster_wide("all", namespaceSelector=TEAMS)
    exist(targets, a=LABELS, b=LABELS, other={})
    await targets.evaluate("2026-11-02")
    assert body["status"]["namespaces"] == ["a", "b"]
    return body


async def test_a_namespace_without_units_is_named_and_the_figure_is_of_the_rest(targets: TargetBench) -> None:
    body = await frozen_all(targets)
    targets.server.known_percent, targets.server.left_out = 60, [f"n-{n}" for n in range(7)]
    await targets.evaluate("2026-11-03")
    status = body["status"]
    assert (status["state"], status["current"]["emissionsPercent"]) == ("Behind", 60)
    assert conditions(body)["UnitsAvailable"] == ("True", "NamespacesLeftOut")
    (message,) = [one["message"] for one in status["conditions"] if one["type"] == "UnitsAvailable"]
    assert message.startswith("units of n-0, n-1, n-2, n-3, n-4 and 2 more are not known in all hours")
    # Other names are written, though nothing else is another one.
    targets.server.left_out = ["n-9"]
    await targets.evaluate("2026-11-03T01:00")
    (message,) = [one["message"] for one in status["conditions"] if one["type"] == "UnitsAvailable"]
    assert message.startswith("units of n-9 are not known")


async def test_below_half_of_the_emissions_there_is_no_figure(targets: TargetBench) -> None:
    body = await frozen_all(targets)
    targets.server.known_percent, targets.server.left_out = 49, ["b"]
    await targets.evaluate("2026-11-03")
    assert body["status"]["state"] == "NoData"
    assert "units of 49 % of the emissions of the window are known, half is needed" in body["status"]["message"]
    assert conditions(body)["UnitsAvailable"] == ("False", "NoUnits")


@pytest.mark.parametrize("labels", [None, {"teams": "no"}])
async def test_hours_before_a_namespace_was_deleted_or_relabelled_still_count(
    targets: TargetBench, labels: dict[str, str] | None
) -> None:
    body = await frozen_all(targets)
    exist(targets, b=labels)
    await targets.evaluate("2026-11-03T05:00")
    until = at("2026-11-03T06:00")  # the end of the hour in which it was noticed
    assert asked(targets) == (["a", "b"], {"b": until})
    assert body["status"]["namespaces"] == ["a"]
    assert body["status"]["formerNamespaces"] == [{"name": "b", "until": "2026-11-03T06:00:00Z"}]
    targets.new_loop()
    await targets.evaluate("2026-11-04")
    assert asked(targets) == (["a", "b"], {"b": until})
    exist(targets, b=LABELS)
    await targets.evaluate("2026-11-04T01:00")
    assert asked(targets) == (["a", "b"], {})
    assert "formerNamespaces" not in body["status"]


async def test_the_last_namespace_that_is_deleted_counts_too_until_no_window_reaches_back(targets: TargetBench) -> None:
    body = await frozen_all(targets)
    exist(targets, a=None, b=None)
    await targets.evaluate("2026-11-02T12:00")
    assert sorted(asked(targets)[0]) == ["a", "b"]
    assert body["status"]["state"] == "Behind"
    await targets.evaluate("2026-11-08")  # the window that it was deleted in has no figure yet
    assert sorted(asked(targets)[0]) == ["a", "b"]
    await targets.evaluate("2026-11-08T01:00")
    assert body["status"]["message"].startswith("spec.namespaceSelector selects no namespace")


async def test_a_baseline_that_waits_keeps_the_namespaces_of_its_span(targets: TargetBench) -> None:
    targets.add_cluster_wide(
        "all", namespaceSelector=TEAMS, baseline={"start": "2026-11-01T00:00:00Z", "end": "2026-11-20T00:00:00Z"}
    )
    exist(targets, a=LABELS, b=LABELS)
    await targets.evaluate("2026-11-02")
    exist(targets, b=None)
    for day in ("2026-11-03", "2026-11-20"):
        await targets.evaluate(day)
        assert asked(targets) == (["a", "b"], {"b": at("2026-11-03") + HOUR})
    await targets.evaluate("2026-11-21")  # it is frozen, and no calendar window of the history reaches back to it
    assert asked(targets) == (["a"], {})


@pytest.mark.parametrize(("window", "first", "after"), [("Day", "11-09", "11-22"), ("Week", "10-26", "11-30")])
async def test_windows_that_are_asked_for_when_the_baseline_is_frozen_have_the_namespaces_that_are_gone(
    targets: TargetBench, window: str, first: str, after: str
) -> None:
    baseline = {"start": "2026-11-01T00:00:00Z", "end": "2026-11-20T00:00:00Z"}
    targets.add_cluster_wide("all", namespaceSelector=TEAMS, baseline=baseline, window=window)
    exist(targets, a=LABELS, b=LABELS)
    await targets.evaluate("2026-11-11")
    exist(targets, b=None)
    gone = {"b": at("2026-11-12") + HOUR}
    for day in ("2026-11-12", "2026-11-20"):
        await targets.evaluate(day)
    assert len(targets.server.spans_of("/all")) == 2  # the rolling window and the baseline
    targets.new_loop()
    await targets.evaluate("2026-11-21")
    assert f"{first}T00" in {start for start, _ in targets.server.spans_of("/all")}
    assert asked(targets) == (["a", "b"], gone)
    await targets.evaluate(f"2026-{after}")
    await targets.evaluate(f"2026-{after}T01:00")
    assert asked(targets) == (["a"], {})


@pytest.mark.parametrize(
    ("window", "selector", "windows"),
    [
        ("Month", None, [2, 2, 2, 2, 2, 1]),
        ("Week", None, [10, 2]),
        ("Day", None, [12]),
        ("Month", TEAMS, [11]),
    ],
)
async def test_the_history_of_many_namespaces_is_asked_for_in_parts(
    targets: TargetBench, window: str, selector: object, windows: list[int]
) -> None:
    baseline = {"start": "2026-01-01T00:00:00Z", "end": "2026-11-20T00:00:00Z"}
    body = targets.add_cluster_wide("all", namespaceSelector=selector, baseline=baseline, window=window)
    exist(targets, a=LABELS, b=LABELS)
    await targets.evaluate("2026-12-05")
    asked_windows = []
    for minutes in range(0, 12 * len(windows), 12):
        await targets.evaluate("2026-12-05", lag_s=780 + 60 * minutes)
        spans = targets.server.spans_of("/all")[1:]  # without the rolling window; the baseline is compared once a day
        asked_windows.append(len([one for one in spans if one != ("01-01T00", "11-20T00")]))
    assert asked_windows == windows
    starts = [one["figure"]["start"] for one in body["status"]["history"]]
    assert (len(starts), starts) == (sum(windows), sorted(set(starts), reverse=True))
    before = len(targets.server.asked)
    await targets.evaluate("2026-12-05", lag_s=780 + 60 * 12 * len(windows))
    assert [len(queries) for queries in targets.server.asked[before:]] in ([], [0])


async def test_a_question_without_former_namespaces_has_no_field_for_them(targets: TargetBench) -> None:
    """A server that does not know the field would refuse it."""
    await frozen_all(targets)
    fields = ["id", "namespaces", "selector", "accounting", "include", "source", "spans", "wishes"]
    assert list(targets.server.asked[-1][0].model_dump(mode="json")) == fields
    exist(targets, b=None)
    await targets.evaluate("2026-11-02T05:00")
    written = targets.server.asked[-1][0].model_dump_json()
    assert TargetQuery.model_validate_json(written).until == {"b": at("2026-11-02T06:00")}


async def test_an_edited_selector_takes_effect_at_once_for_namespaces_that_exist(targets: TargetBench) -> None:
    body = await frozen_all(targets)
    exist(targets, c={"teams": "no"}, b=None)
    targets.edit(body, namespaceSelector={"matchLabels": {"teams": "no"}})
    await targets.evaluate("2026-11-02T12:00")
    assert asked(targets) == (["c", "b"], {"b": at("2026-11-02T13:00")})


async def test_of_more_namespaces_than_one_question_names_those_gone_last_are_kept(targets: TargetBench) -> None:
    body = await frozen_all(targets)
    for number in range(999):
        exist(targets, **{f"n{number}": LABELS})
    exist(targets, b=None)
    await targets.evaluate("2026-11-02T12:00")
    assert len(asked(targets)[0]) == 1000
    exist(targets, a=None, n0=None, m=LABELS, l=LABELS)
    await targets.evaluate("2026-11-02T14:00")
    names, until = asked(targets)
    assert (len(names), len(until)) == (1000, 0)
    assert conditions(body)["Ready"] == ("True", "NamespacesLeftOut")


async def test_no_status_has_the_servers_address(targets: TargetBench) -> None:
    body = targets.add("chatbot")
    targets.server.up = False
    targets.server.away = "the server does not answer: Cannot connect to host carbonbudget-server:8443 [10.0.0.3]"
    await targets.evaluate("2026-11-02")
    assert "8443" not in str(body["status"])
    assert body["status"]["message"] == "the server does not answer: see the controller's log"


async def test_a_path_that_asks_for_nothing_yet_has_no_minus_sign(targets: TargetBench) -> None:
    body = targets.add("chatbot")
    await targets.evaluate("2026-11-02")
    await targets.evaluate("2026-11-02T01:00")
    assert "(0.0 %), expected 99.9g (0.0 %), -20 % by" in body["status"]["message"]
    assert "-0.0" not in str(body["status"]) + str(targets.world.messages)
