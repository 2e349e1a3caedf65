"""The formats of `carbonbudget export`: exact sums, hostile names as text, bounded memory, each read back."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from line_protocol_parser import parse_line
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from carbonbudget_operator.export_formats import exported_groups
from carbonbudget_operator.export_formats.codecarbon_export import CODECARBON_COLUMNS, codecarbon_export
from carbonbudget_operator.export_formats.csv_export import csv_export
from carbonbudget_operator.export_formats.exported_groups import (
    ExportedCluster,
    ExportedGroup,
    ExportError,
    series_names,
)
from carbonbudget_operator.export_formats.focus_export import COLUMNS, CUSTOM, focus_export
from carbonbudget_operator.export_formats.impact_framework_export import impact_framework_export
from carbonbudget_operator.export_formats.influx_export import influx_export
from carbonbudget_operator.export_formats.openmetrics_export import openmetrics_export

JULY = 1_751_328_000
FIELDS = ("namespace", "workload", "label:team")
FIGURES = ("energy_uj", "location_ug", "market_ug", "embodied_ug")
CLUSTER = ExportedCluster("c1", FIELDS)
ALL = (csv_export, focus_export, influx_export, openmetrics_export, codecarbon_export, impact_framework_export)
Renderer = Callable[[Iterable[ExportedGroup], ExportedCluster], Iterator[str]]
HOSTILE = [
    '=HYPERLINK("http://x.example")', "a,b=c d", "back\\slash\\", 'q"uote', "line\nbreak", "\x1b[31mred", "\u202egnp",
    "# EOF", "{{ 7*7 }}", "- &a [*a]", "100%", "\ud800", "",
]  # fmt: skip
names = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12))
figures = st.integers(0, 2**62)


@st.composite
def groups(draw: st.DrawFn) -> list[ExportedGroup]:
    """Some steps of some groups, each once."""
    keys = draw(st.lists(st.tuples(names, names, names), max_size=4, unique=True))
    found = []
    for hour in range(draw(st.integers(1, 3))):
        for key in keys:
            start = JULY + 3600 * hour
            own = dict(zip(FIELDS, key, strict=True))
            found.append(
                ExportedGroup(start, start + 3600, own, *(draw(figures) for _ in range(4)), 50, ["=factor", "b"])
            )
    return found


def sums(rows: Iterable[ExportedGroup]) -> tuple[int, ...]:
    held = list(rows)
    return tuple(sum(getattr(row, figure) for row in held) for figure in FIGURES)


def a_group(hour: int = 0, **key: str) -> ExportedGroup:
    own = {"namespace": "n", "workload": "Job/j", "label:team": "t"} | key
    return ExportedGroup(
        JULY + 3600 * hour, JULY + 3600 * (hour + 1), own, 3_600_000_000_000, 5 * 10**6, 4 * 10**6, 7, 100, ["f"]
    )


@given(groups())
@settings(max_examples=60)
def test_csv_has_the_exact_sums_and_no_formula(rows: list[ExportedGroup]) -> None:
    read = list(csv.DictReader(io.StringIO("".join(csv_export(rows, CLUSTER)))))
    assert tuple(
        sum(int(row[f]) for row in read) for f in ("energy_uj", "location_ug", "market_ug", "embodied_ug")
    ) == sums(rows)
    assert sum(Decimal(row["location_g"]) for row in read) * 10**6 == sums(rows)[1]
    assert not [cell for row in read for cell in row.values() if cell.startswith(("=", "+", "@"))]


@given(groups())
@settings(max_examples=60)
def test_focus_has_the_exact_sums_and_tags_that_are_json(rows: list[ExportedGroup]) -> None:
    read = list(csv.DictReader(io.StringIO("".join(focus_export(rows, CLUSTER)))))
    grams = ("x_CarbonLocationBasedGrams", "x_CarbonMarketBasedGrams", "x_EmbodiedGrams")
    assert tuple(sum(Decimal(row[column]) for row in read) * 10**6 for column in grams) == sums(rows)[1:]
    for row, its in zip(rows, read, strict=True):
        assert json.loads(its["Tags"]) == {"team": row.key["label:team"]}
        assert its["Tags"].isascii()
    assert not [cell for its in read for cell in its.values() if cell.startswith(("=", "+", "@"))]


@given(groups())
@settings(max_examples=60)
def test_line_protocol_is_read_back_with_the_exact_integers(rows: list[ExportedGroup]) -> None:
    found = dict.fromkeys(("", "LocationBased", "MarketBased", "Embodied"), 0)
    for line in "".join(influx_export(rows, CLUSTER)).splitlines():
        point = parse_line(line)
        assert point["tags"]["cluster"] == "c1"
        assert point["time"] in {row.start * 10**9 for row in rows}
        for field in ("microjoules", "micrograms"):
            found[point["tags"].get("accounting", "")] += point["fields"].get(field, 0)
    assert tuple(found.values()) == sums(rows)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_tag_stays_one_tag_and_nothing_else_changes(text: str) -> None:
    lines = "".join(influx_export([a_group(**{"label:team": text})], CLUSTER)).splitlines()
    assert len(lines) == 4
    for line in lines:
        tags = parse_line(line)["tags"]
        assert tags.keys() - {"accounting", "label_team"} == {"cluster", "namespace", "workload"}
        if text:
            encoded = re.sub(r"%([0-9A-F]{2})", lambda one: chr(int(one[1], 16)), tags["label_team"])
            assert encoded.encode("latin-1", "ignore").decode("utf-8", "surrogatepass") == text or not text.isascii()


@given(groups())
@settings(max_examples=60)
def test_openmetrics_is_read_by_prometheus_own_parser(rows: list[ExportedGroup]) -> None:
    text = "".join(openmetrics_export(rows, CLUSTER))
    assert text.endswith("# EOF\n")
    read = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert len(read) == 4 * len(rows)
    times = {float(sample.timestamp) for sample in read}
    assert times == {float(row.end) for row in rows}
    emitted = sum(s.value for s in read if s.labels.get("accounting") == "LocationBased")
    assert emitted == pytest.approx(sums(rows)[1] / 10**6, rel=1e-9, abs=1e-6)


@given(groups())
@settings(max_examples=60)
def test_codecarbon_has_a_run_for_each_row_and_the_exact_sums(rows: list[ExportedGroup]) -> None:
    text = "".join(codecarbon_export(rows, CLUSTER))
    assert text.splitlines()[0] == ",".join(CODECARBON_COLUMNS)
    read = list(csv.DictReader(io.StringIO(text)))
    assert len({row["run_id"] for row in read}) == len(rows)
    assert sum(Decimal(row["emissions"]) for row in read) * 10**9 == sums(rows)[1]
    assert text == "".join(codecarbon_export(rows, CLUSTER)), "the same row has the same run_id"


@given(groups())
@settings(max_examples=60)
def test_a_manifest_is_json_with_a_child_for_each_group(rows: list[ExportedGroup]) -> None:
    made = json.loads("".join(impact_framework_export(rows, CLUSTER)), parse_float=Decimal)
    children = made["tree"]["children"]
    assert {tuple(json.loads(name)) for name in children} == {tuple(row.key.values()) for row in rows}
    inputs = [one for child in children.values() for one in child["inputs"]]
    assert sum(Decimal(one["carbon-operational"]) for one in inputs) * 10**6 == sums(rows)[1]
    assert sum(Decimal(one["carbon-embodied"]) for one in inputs) * 10**6 == sums(rows)[3]


def test_focus_has_all_columns_of_1_0_and_1_2_and_the_others_begin_with_x() -> None:
    (row,) = csv.DictReader(io.StringIO("".join(focus_export([a_group()], CLUSTER))))
    assert list(row) == [*COLUMNS, *CUSTOM]
    assert list(COLUMNS) == sorted(COLUMNS)
    assert all(column.startswith("x_") for column in CUSTOM)
    assert (row["ConsumedQuantity"], row["ConsumedUnit"]) == ("1", "kWh")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2025-07-01T00:00:00Z", "2025-08-01T00:00:00Z")
    assert (row["ResourceId"], row["ResourceName"], row["ResourceType"]) == ("n/Job/j/t", "j", "Job")
    assert row["x_LocationBasedGramsPerKilowattHour"] == "5.000"


def test_codecarbon_has_the_38_columns_of_version_3() -> None:
    assert len(CODECARBON_COLUMNS) == len(set(CODECARBON_COLUMNS)) == 38


def test_two_labels_with_one_name_are_refused() -> None:
    with pytest.raises(ExportError, match=r"label:a\.b and label:a-b have one name in this format, label_a_b"):
        series_names(["label:a.b", "label:a-b"])
    assert (
        series_names(["namespace", "label:app.kubernetes.io/name"])["label:app.kubernetes.io/name"]
        == "label_app_kubernetes_io_name"
    )


@pytest.mark.parametrize("render", ALL)
def test_an_export_without_rows_is_a_whole_file(render: Renderer) -> None:
    text = "".join(render([], CLUSTER))
    assert text == "" if render is influx_export else text.endswith("\n")


@pytest.mark.parametrize("render", [csv_export, focus_export, influx_export, codecarbon_export])
def test_formats_in_the_order_of_time_hold_no_rows(render: Renderer) -> None:
    taken = 0

    def endless() -> Iterator[ExportedGroup]:
        nonlocal taken
        while True:
            taken += 1
            yield a_group(taken)

    assert len(list(islice(render(endless(), CLUSTER), 50))) == 50
    assert taken <= 50


@pytest.mark.parametrize("render", [openmetrics_export, impact_framework_export])
def test_formats_in_another_order_refuse_more_rows_than_they_can_hold(
    render: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exported_groups, "MOST_HELD_ROWS", 10)
    list(render([a_group(hour) for hour in range(10)], CLUSTER))
    with pytest.raises(ExportError, match="more than 10 rows"):
        list(render([a_group(hour) for hour in range(11)], CLUSTER))
