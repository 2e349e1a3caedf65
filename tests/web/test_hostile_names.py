"""Names of namespaces, workloads and labels are text of strangers: none becomes markup, and none misleads."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from html import escape
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.web.budget_answers import budget_row
from tests.web.data_answers import run_row
from tests.web.page_world import HOSTILE, World, shown
from tests.web.target_answers import target_row

from carbonbudget_operator.printable import printable
from carbonbudget_operator.web.charts.stacked_bars import BarSeries, stacked_bars

PATHS = (
    "/budgets",
    "/targets",
    "/targets/team-b/t",
    "/emissions",
    "/emissions?by=workload&step=all",
    "/emissions?by=model",
    "/runs",
    "/data",
    "/grid",
)
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def hostile_world(name: str) -> World:
    world = World(names=(name, "team-b"))
    texts = dict.fromkeys(("model", "model_version", "stage", "state"), name)
    world.runs = [run_row(name[:63], name[:63], **texts), run_row("good", "team-b", **texts)]
    world.budgets = [budget_row("b", name, message=name, contact=name, time_zone=name, state=name, action=name)]
    said = dict.fromkeys(
        ("unit", "message", "time_zone", "state", "basis", "units", "window", "source", "selector"), name
    )
    world.targets = [target_row(name, name), target_row("t", "team-b", **said)]
    return world


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", PATHS)
async def test_a_hostile_name_is_shown_as_text(path: str, name: str) -> None:
    html = (await shown(path, hostile_world(name))).text
    assert "<script>alert" not in html
    assert "<img" not in html
    assert "<svg onload" not in html
    assert not CONTROLS.search(html)
    if path.startswith(("/emissions", "/runs")):
        assert escape(printable(name, 300), quote=False) in html.replace("&#34;", '"').replace("&#39;", "'")


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_run_of_any_names_has_a_page_that_shows_them_as_text(name: str) -> None:
    for path in (f"/runs/{quote(name[:63], safe='')}/{quote(name[:63], safe='')}", "/runs/team-b/good"):
        html = (await shown(path, hostile_world(name))).text
        assert "<script>alert" not in html
        assert "<img" not in html
        assert "<svg onload" not in html
        assert not CONTROLS.search(html)


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_parameter_of_the_address_is_shown_as_text(name: str) -> None:
    for path in (
        "/emissions?filter=", "/emissions?window=", "/emissions?by=", "/grid?zone=", "/budgets?state=", "/runs?model=",
        "/runs?stage=", "/runs?window=", "/runs?from=", "/runs/team-a/exp-0?window=",
    ):  # fmt: skip
        html = (await shown(path + quote(name))).text
        assert "<script>alert" not in html
        assert "<img" not in html
        assert not CONTROLS.search(html)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80), st.lists(st.integers(0, 10**15), min_size=1, max_size=30))
def test_a_chart_of_any_names_and_values_is_well_formed(name: str, values: list[int]) -> None:
    picture = stacked_bars([3600 * n for n in range(len(values))], "hour", [BarSeries(name, values)], name)
    root = ET.fromstring(str(picture))
    assert root.tag == "svg"
    bars = list(root.iter("rect"))
    assert len(bars) == sum(value > 0 and value / max(values) > 0 for value in values)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 10**12), min_size=4, max_size=4), min_size=1, max_size=8))
def test_the_bars_of_a_step_are_as_high_together_as_the_step_is(columns: list[list[int]]) -> None:
    """Conservation: no part of a step is drawn twice or left out."""
    series = [BarSeries(f"s{number}", values) for number, values in enumerate(columns)]
    root = ET.fromstring(str(stacked_bars([0, 3600, 7200, 10800], "hour", series, "t")))
    heights: dict[float, float] = {}
    for bar in root.iter("rect"):
        x = float(bar.attrib["x"])
        heights[x] = heights.get(x, 0.0) + float(bar.attrib["height"])
    totals = [sum(values[step] for values in columns) for step in range(4)]
    drawn = [heights.get(x, 0.0) for x in sorted(heights)]
    wanted = [total for total in totals if total > 0]
    assert len(drawn) == len(wanted)
    for height, total in zip(drawn, wanted, strict=True):
        assert height / max(drawn) == pytest.approx(total / max(wanted), abs=0.02)
