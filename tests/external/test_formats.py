"""Each source's files, as the sources document them, become figures in micrograms and microjoules."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from tests.external.given import LOG, content, read, read_file

from carbonbudget_operator.external.import_errors import ExternalFileError
from carbonbudget_operator.ledger.external_figure import ExternalFigure, pack_file, unpack_file


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


def by_scope(figures: tuple[ExternalFigure, ...]) -> dict[str, int]:
    assert len({figure.scope for figure in figures}) == len(figures)
    return {figure.scope: figure.emissions_ug for figure in figures}


def test_a_run_of_codecarbon_3_is_its_last_row_and_amounts_are_exact() -> None:
    file = read_file("codecarbon", "codecarbon-3.csv")
    flushed, small = file.figures
    assert (flushed.account, flushed.item, flushed.line) == ("resnet", "a1f0c7de-0001-4c1f-9d5e-000000000001", 3)
    assert (flushed.start, flushed.end) == (at("2025-11-03T13:29:59"), at("2025-11-03T14:30:00"))
    assert (flushed.emissions_ug, flushed.energy_uj) == (100_200_000, 1_095_480_000_000)
    assert (flushed.method, flushed.scope, flushed.stated) == ("CodeCarbon 3, machine", "2-location", "0.1002 kg")
    assert (small.emissions_ug, small.energy_uj) == (12_346, 133_200_000)  # 12345.678... ug
    assert small.stated == "1.2345678901234567e-05 kg"
    assert (file.superseded, file.rounded) == (1, 1)


def test_a_run_of_codecarbon_2_has_fewer_columns_and_the_same_meaning() -> None:
    (figure,) = read_file("codecarbon", "codecarbon-2.csv").figures
    assert (figure.method, figure.emissions_ug, figure.energy_uj) == ("CodeCarbon 2, process", 2_000_000, 18 * 10**9)


def test_local_times_are_of_the_zone_that_is_named() -> None:
    for zone, hours in (("", 0), ("UTC", 0), ("Europe/Berlin", -1), ("America/New_York", 5)):
        (figure,) = read_file("codecarbon", "codecarbon-2.csv", timezone=zone).figures
        assert figure.end == at("2025-11-03T14:00:00") + 3600 * hours
        (log,) = read_file("carbontracker", LOG, timezone=zone).figures
        assert log.end == at("2025-11-03T13:40:30") + 3600 * hours


def test_a_time_with_an_offset_needs_no_zone() -> None:
    text = content("codecarbon-2.csv").decode().replace("T14:00:00", "T14:00:00.123456+02:00")
    (figure,) = read("codecarbon", text, timezone="America/New_York").figures
    assert figure.end == at("2025-11-03T12:00:00")


def test_of_carbontracker_the_last_actual_consumption_counts_and_no_prediction() -> None:
    file = read_file("carbontracker", LOG)
    (figure,) = file.figures
    assert (figure.emissions_ug, figure.energy_uj) == (345_678_901, 3_555_555_555_643)
    assert (figure.start, figure.end) == (at("2025-11-03T12:00:30"), at("2025-11-03T13:40:30"))
    assert (figure.item, figure.line) == ("train_4242.0_2025-11-03T120000Z", 20)
    assert (file.superseded, file.rounded) == (1, 1)


def test_a_log_of_carbontracker_1_has_threads_and_levels_and_may_last_for_days() -> None:
    (figure,) = read_file("carbontracker", "2025-11-02T0900Z_carbontracker_output.log").figures
    assert (figure.emissions_ug, figure.energy_uj) == (750_250_000, 9 * 10**12)
    assert (figure.start, figure.end) == (at("2025-11-01T07:29:59"), at("2025-11-02T09:30:00"))


def test_of_aws_each_scope_is_a_figure_and_the_newest_model_of_a_month_counts() -> None:
    file = read_file("aws", "aws-v3.csv")
    compute = tuple(figure for figure in file.figures if figure.item.startswith("AmazonEC2 "))
    assert by_scope(compute) == {
        "1": 10**9, "2-location": 3 * 10**11, "2-market": 10**10, "3-location": 49 * 10**9, "3-market": 49 * 10**9,
    }  # fmt: skip
    assert {(figure.start, figure.end) for figure in file.figures} == {(at("2025-10-01"), at("2025-11-01"))}
    assert {(figure.account, figure.method) for figure in file.figures} == {("222222222222", "AWS model v3.0.0")}
    assert (len(file.figures), file.superseded, file.rounded) == (10, 1, 0)
    assert next(f.emissions_ug for f in file.figures if f.line == 3 and f.scope == "2-location") == 1  # a microgram


def test_aws_rows_without_scopes_are_totals_which_are_not_called_scopes() -> None:
    assert by_scope(read_file("aws", "aws-v2.csv").figures) == {"all-location": 1_234_567_000_000, "all-market": 0}


@pytest.mark.parametrize(
    "end", ["2025-10-31 23:59:59Z", "2025-10-31", "2025-11-01T00:00:00.000Z", "2025-10-31 00:00:00"]
)
def test_a_month_of_aws_ends_however_it_is_written(end: str) -> None:
    text = content("aws-v2.csv").decode().replace("2025-10-31 23:59:59Z", end)
    assert {figure.end for figure in read("aws", text).figures} == {at("2025-11-01")}


def test_of_google_cloud_each_scope_is_a_figure_and_offsets_are_none() -> None:
    file = read_file("gcp", "gcp.jsonl")
    compute = tuple(figure for figure in file.figures if figure.item.startswith("6F81-5844-456A"))
    assert by_scope(compute) == {
        "1": 250 * 10**6,
        "2-location": 6_500 * 10**6,
        "2-market": 250 * 10**6,
        "3": 2_750 * 10**6,
    }
    rest = tuple(figure for figure in file.figures if figure.line == 2)
    assert by_scope(rest) == {"all-location": 9_500 * 10**6, "all-market": 3_250 * 10**6}
    assert {figure.account for figure in file.figures} == {"007GD7-15C0E6-BDE6B3 / 802583874831"}
    assert file.superseded == 1


def test_googles_flat_and_nested_exports_say_the_same() -> None:
    nested = read("gcp", content("gcp.jsonl").splitlines(keepends=True)[0].replace(b"2025-10", b"2025-09"))
    for text in (
        content("gcp.csv"),
        content("gcp.csv").replace(b"kgCO2e.scope", b"kgCO2e_scope").replace(b".id", b"_id"),
    ):
        flat = read("gcp", text)
        for figure, same in zip(flat.figures, nested.figures, strict=True):
            assert figure.series == same.series
            assert (figure.start, figure.emissions_ug) == (same.start, same.emissions_ug)


def test_of_azure_the_rows_own_month_counts_and_not_the_month_before() -> None:
    first, second = read_file("azure", "azure-monthly.json", account="all of ML", scope="2-market").figures
    assert (first.start, first.end, first.emissions_ug) == (at("2025-09-01"), at("2025-10-01"), 3_525_671_790_202)
    assert (second.emissions_ug, second.account, second.scope) == (3_589_807_513_505, "all of ML", "2-market")
    assert read_file("azure", "azure-monthly.json").rounded == 2
    (flat,) = read_file("azure", "azure-monthly.csv").figures
    assert (flat.scope, flat.emissions_ug, flat.method) == ("all", 12_500 * 10**6, "Azure MonthlySummaryData")


def test_azures_details_have_no_date_and_are_of_the_month_that_is_named() -> None:
    with pytest.raises(ExternalFileError, match="row 1 has no date: --month names"):
        read_file("azure", "azure-details.json")
    figures = read_file("azure", "azure-details.json", month="2025-10").figures
    assert [figure.item.rsplit("/", 1)[1] for figure in figures] == ["one", "two"]
    assert {(figure.start, figure.emissions_ug) for figure in figures} == {(at("2025-10-01"), 100 * 10**6)}


def test_the_answer_as_an_array_of_rows_is_read_too() -> None:
    rows = json.loads(content("azure-monthly.json"))["value"]
    assert len(read("azure", json.dumps(rows)).figures) == 2


@pytest.mark.parametrize(
    ("form", "name"),
    [("codecarbon", "codecarbon-3.csv"), ("carbontracker", LOG), ("aws", "aws-v3.csv"), ("gcp", "gcp.jsonl")],
)
def test_a_file_goes_from_process_to_process_unchanged(form: str, name: str) -> None:
    file = read_file(form, name)
    assert unpack_file(pack_file(file)) == file
