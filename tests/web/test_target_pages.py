"""What the pages of targets show."""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from fractions import Fraction
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.web.budget_answers import DAY, NOW, instant
from tests.web.page_world import World, shown, text_of
from tests.web.target_answers import BASELINE_END, MIDNIGHT, TARGETS, target_detail, target_row, target_windows

from carbonbudget_operator.api.wire_names import CLUSTER_TARGET, TARGET
from carbonbudget_operator.server.public import target_api_rows as api_rows
from carbonbudget_operator.targets.reduction_path import ReductionPath
from carbonbudget_operator.web.charts.target_charts import WindowBar, target_bar, target_path
from carbonbudget_operator.web.views.page_target import PageTarget
from carbonbudget_operator.web.views.page_target_from_answer import shown_target_detail
from carbonbudget_operator.web.views.page_target_history import PageSavings, PageWindow
from carbonbudget_operator.web.views.target_path_points import path_points


def names(html: str) -> list[str]:
    return re.findall(r"<h2><a href=\"[^\"]+\">([^<]+)</a>", html)


async def test_targets_that_are_violated_come_first_and_those_on_track_last() -> None:
    assert names((await shown("/targets")).text) == [
        "batch-images", "chat-tokens", "new", "company-inference", "search",
    ]  # fmt: skip


async def test_a_card_has_state_by_word_figure_expectation_baseline_change_and_goal() -> None:
    world = World()
    world.targets = [target_row()]
    text = text_of((await shown("/targets", world)).text)
    for part in ("Behind", "37.2g", "expected 36.9g", "-11.4 %", "42g", "-20 % by 14 Mar 2027", "per 1,000,000 token"):
        assert part in text
    assert "7 days, 99 % of its hours known" in text
    assert "38.1g" in text


async def test_the_address_selects_targets_by_namespace_and_state() -> None:
    assert names((await shown("/targets?namespace=team-a")).text) == ["chat-tokens"]
    assert names((await shown("/targets?state=OnTrack")).text) == ["search"]
    assert "No target is selected" in (await shown("/targets?state=OnTrack&namespace=team-a")).text


async def test_without_targets_the_page_says_what_a_target_is_and_how_to_make_one() -> None:
    world = World()
    world.targets = []
    text = text_of((await shown("/targets", world)).text)
    assert "No targets yet" in text
    assert "kubectl apply -f target.yaml" in text


async def test_one_target_has_its_path_its_windows_its_savings_and_its_conditions() -> None:
    html = (await shown("/targets/team-a/chat-tokens")).text
    text = text_of(html)
    assert html.count('class="chart target-path"') == 1
    assert html.count('class="window ') == 10  # nine that are over and the present one
    for part in (
        "Windows that are over", "EUR", "kWh", "on track", "UnitsAvailable", "preset vLLMOutputTokens",
        "at the baseline's grid", "with the factors of today 42.3g", "fewer than 1,000,000 units",
    ):  # fmt: skip
        assert part in text.replace("&#39;", "'"), part


async def test_a_target_without_a_figure_says_why_and_shows_no_none() -> None:
    html = (await shown("/targets/team-d/new")).text
    text = text_of(html)
    assert "No data" in text
    assert "Prometheus has no series vllm:generation_tokens_total of team-d" in text
    assert "None" not in text
    assert "target-path" not in html


async def test_a_target_of_the_cluster_is_found_by_its_own_address() -> None:
    text = text_of((await shown("/cluster-targets/company-inference")).text)
    assert "Achieved" in text
    assert "whole cluster" in text


async def test_a_refused_list_of_targets_is_a_sentence_with_its_status() -> None:
    world = World()
    world.refused["/api/v1/targets"] = 403, "you may not get carbontargets in any namespace"
    answer = await shown("/targets", world)
    assert (answer.status_code, "you may not get carbontargets" in answer.text) == (403, True)


@pytest.mark.parametrize("odd", ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00+05:00", "soon"])
async def test_an_instant_beyond_the_calendar_leaves_the_page_of_a_target(odd: str) -> None:
    world = World()
    times = ("by", "window_start", "window_end", "data_through")
    world.targets = [target_row("odd", time_zone="Asia/Tokyo", **dict.fromkeys(times, odd))]
    for path in ("/targets", "/targets/team-a/odd"):
        answer = await shown(path, world)
        assert (answer.status_code, "odd" in answer.text) == (200, True)


def _object(**status: Any) -> dict[str, Any]:
    spec = {
        "selector": {"matchLabels": {"app": "chat"}},
        "unit": {"name": "token", "per": 1_000_000, "source": {"preset": "vLLMOutputTokens"}},
        "timeZone": "Europe/Paris", "minimumUnits": 1_000_000,
        "baseline": {"start": instant(BASELINE_END - 28 * DAY), "end": instant(BASELINE_END)},
        "target": {"reduction": 20, "by": instant(MIDNIGHT + 110 * DAY)},
    }  # fmt: skip
    created = instant(BASELINE_END - 30 * DAY)
    metadata = {"name": "chat-tokens", "namespace": "team-a", "creationTimestamp": created}
    return {"metadata": metadata, "spec": spec, "status": status}


def _figure(start: int, end: int, ug: int, **more: Any) -> dict[str, Any]:
    return {
        "start": instant(start), "end": instant(end), "perUnit": "", "perUnitMicrograms": ug, "units": "91250000",
        "emissions": "", "emissionsMicrograms": 3_394_500_000, "energyMicrojoules": 36_720_000_000_000, **more,
    }  # fmt: skip


def test_an_object_is_shown_as_the_answer_about_it_is() -> None:
    row = target_row(message="")
    answer, history = target_detail(row), {"rows": target_windows(row)}
    windows = [
        {
            "figure": _figure(_second(one["start"]), _second(one["end"]), int(one["per_unit_ug"]),
                              units=one["units"], hoursPercent=one["hours_percent"]),
            "expectedMicrograms": round(one["expected_g"] * 1e6), "state": one["state"],
            "savings": {"micrograms": int(one["saved_ug"]), "absoluteFallMicrograms": int(one["absolute_fall_ug"]),
                        "microjoules": int(one["saved_uj"]), "money": one["money"]},
        }
        for one in history["rows"]
    ]  # fmt: skip
    made = _object(
        baseline={"perUnit": "42g", "perUnitMicrograms": 42_000_000, "frozenAt": instant(BASELINE_END), "hash": "",
                  "restated": "42.3g", "measured": _figure(BASELINE_END - 28 * DAY, BASELINE_END, 42_000_000)},
        current=_figure(NOW - 7 * DAY, NOW, 37_200_000, hoursPercent=99, measured=87, coverage=98),
        atBaselineGrid="38.1g", change="-11.4", state="Behind", dataThrough=instant(NOW - 60),
        expectedNow={"perUnit": "36.9g", "perUnitMicrograms": 36_900_000, "reduction": "7.7"},
        conditions=[{"type": one["type"], "status": one["status"], "reason": one["reason"], "message": one["message"]}
                    for one in answer["conditions"]],
        history=windows,
    )  # fmt: skip
    rows = api_rows.target_detail(TARGET, made), {"rows": api_rows.former_windows(TARGET, made)}
    assert shown_target_detail(*rows) == shown_target_detail(answer, history)


def _second(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"counter": {"metric": "http_requests_total", "matchLabels": {"code": "200"}}},
         "counter http_requests_total with code=200"),
        ({"client": "images"}, "client images"),
        ({"query": "sum(x)"}, "query sum(x)"),
    ],
)  # fmt: skip
def test_who_counts_the_units_is_said(source: dict[str, Any], words: str) -> None:
    made = _object()
    made["metadata"].pop("namespace")
    made["spec"]["unit"]["source"] = source
    found = shown_target_detail(api_rows.target_detail(CLUSTER_TARGET, made), {})
    assert f"Who counts the units: {words}." in found.counts
    assert found.state_word == "No data"


def _target(**given: Any) -> PageTarget:
    made = PageTarget("a", "t", baseline_ug=1_000_000, baseline_end=0, reduction=20, by=100 * DAY)
    return replace(made, **given)


def test_a_path_is_a_line_steps_or_a_fall_at_its_end() -> None:
    assert path_points(_target()) == [(0, 1_000_000), (100 * DAY, 800_000)]
    assert path_points(_target(path="AtEnd"))[1:] == [(100 * DAY, 1_000_000), (100 * DAY, 800_000)]
    stepped = path_points(_target(path="Stepped", steps=[(50 * DAY, 10)]))
    assert stepped == [
        (0, 1_000_000), (50 * DAY, 1_000_000), (50 * DAY, 900_000), (100 * DAY, 900_000), (100 * DAY, 800_000),
    ]  # fmt: skip
    assert path_points(_target(baseline_ug=None)) == []
    assert path_points(_target(by=-DAY)) == []


def _drawn(corners: list[tuple[int, int]], at: int) -> Fraction:
    """The line of these corners at a time; where it falls at once, the lower end."""
    before = [one for one in corners if one[0] <= at][-1]
    after = next((one for one in corners if one[0] > at), before)
    if after[0] == before[0]:
        return Fraction(before[1])
    return before[1] + Fraction((after[1] - before[1]) * (at - before[0]), after[0] - before[0])


@given(
    st.sampled_from(["Linear", "Stepped", "AtEnd"]),
    st.lists(
        st.tuples(st.integers(-10, 110), st.integers(1, 60)), min_size=1, max_size=5, unique_by=lambda one: one[0]
    ),
    st.integers(0, 100),
)
def test_the_path_that_is_drawn_is_the_one_by_which_a_target_is_judged(
    name: Literal["Linear", "Stepped", "AtEnd"], drawn_steps: list[tuple[int, int]], day: int
) -> None:
    shares = sorted(share for _, share in drawn_steps)
    times = sorted(at * DAY for at, _ in drawn_steps if at <= 100)
    steps = list(zip(times, shares, strict=False))
    if name == "Stepped" and not steps:
        return
    judged = ReductionPath(name, 0, 100 * DAY, 60, tuple(steps))
    baseline_ug = 1_000_000
    corners = path_points(_target(path=name, steps=steps, reduction=60, baseline_ug=baseline_ug))
    assert _drawn(corners, day * DAY) == judged.expected(Fraction(baseline_ug), day * DAY)


masses = st.integers(0, 10**15)
spans = st.tuples(st.integers(0, 10**9), st.integers(1, 10**8), masses)


@settings(max_examples=60, deadline=None)
@given(st.lists(spans, max_size=14), st.lists(st.tuples(st.integers(0, 10**9), masses), max_size=8), st.text())
def test_a_path_of_any_windows_is_well_formed_and_stays_inside_its_picture(
    windows: list[tuple[int, int, int]], corners: list[tuple[int, int]], name: str
) -> None:
    bars = [WindowBar(start, start + length, ug, name, "within") for start, length, ug in sorted(windows)]
    path = sorted(corners)
    if not bars and not path:
        return
    root = ET.fromstring(str(target_path(path, bars, 5, name)))
    rects = list(root.iter("rect"))
    assert len(rects) == len(bars)
    for one in rects:
        x, y, width, height = (float(one.attrib[key]) for key in ("x", "y", "width", "height"))
        assert x >= 63.9
        assert x + width <= 880 - 91.9
        assert y >= 13.9
        assert height <= 240.1


@given(masses, masses, st.none() | masses)
def test_a_bar_has_its_marks_inside(current: int, expected: int, baseline: int | None) -> None:
    root = ET.fromstring(str(target_bar(current, expected, baseline, "within")))
    assert all(float(one.attrib["width"]) <= 300 for one in root.iter("rect"))
    marks = [float(re.findall(r"M([\d.]+)", one.attrib["d"])[0]) for one in root.iter("path")]
    assert len(marks) == (1 if baseline is None else 2)
    assert all(0 <= mark <= 300 for mark in marks)


def test_all_targets_of_these_tests_have_one_of_the_states() -> None:
    assert {row["state"] for row in TARGETS} == {"Behind", "Violated", "OnTrack", "Achieved", "NoData"}


async def test_units_have_their_thousands_apart_and_a_rise_has_its_sign() -> None:
    text = text_of((await shown("/targets/team-b/batch-images")).text)
    assert "91,250,000" in text
    assert "+26.6 % against the baseline" in text


def test_money_is_added_up_over_windows_of_one_currency_alone() -> None:
    def saved(*amounts: str) -> str:
        windows = [PageWindow(0, 1, 1, savings=PageSavings(1, money=one)) for one in amounts]
        found = _target(history=windows).saved
        assert found is not None
        return found.money

    assert saved("1,200.50 EUR", "-0.25 EUR") == "1,200.25 EUR"
    assert saved("1.00 EUR", "1.00 USD") == ""
    assert saved("1.00 EUR", "") == ""
    assert _target().saved is None
