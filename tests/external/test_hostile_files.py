"""Whatever a file holds: it is taken whole, or one sentence says where and why it is not."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.external.given import LOG, content, read

from carbonbudget_operator.external.file_amounts import micrograms
from carbonbudget_operator.external.file_rows import MAX_BYTES, MAX_ROWS
from carbonbudget_operator.external.import_errors import ExternalFileError

CC2, CC3, AWS = (content(name).decode() for name in ("codecarbon-2.csv", "codecarbon-3.csv", "aws-v3.csv"))
JSONL, MONTHLY, TRACKER = (content(name).decode() for name in ("gcp.jsonl", "azure-monthly.json", LOG))
CC_HEAD, CC_ROW = CC2.splitlines(keepends=True)


def refusal(form: str, text: bytes | str, name: str = "", **more: str) -> str:
    with pytest.raises(ExternalFileError) as error:
        read(form, text, name, **more)
    said = str(error.value)
    assert said.isprintable(), said
    assert len(said) < 400
    return said


def zipped() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("emissions.csv", CC2)
    return held.getvalue()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (CC_HEAD, "has no figure"),
        (b"PAR1" + bytes(100), "a Parquet file"),
        (b"\x1f\x8b\x08" + bytes(100), "compressed by gzip"),
        (zipped(), "a ZIP archive or a spreadsheet"),
        (CC2.encode("utf-16"), "UTF-16: save it as UTF-8"),
        (CC2.replace("resnet", "caf\xe9").encode("latin-1"), "line 2 is not UTF-8"),
        (CC2.replace("resnet", "res\0net"), "line 2 has a NUL byte"),
        (CC2.replace("resnet", "x" * 10_000_000), f"the file is larger than {MAX_BYTES} bytes"),
        (CC2.replace("resnet", "x" * 1_000_000), "line 2: this is no CSV: field larger than field limit"),
        (CC2.replace("resnet", "x" * 501), "line 2: project_name is 'xxx"),
        (b"x" * (MAX_BYTES + 1), f"larger than {MAX_BYTES} bytes"),
        (CC2.replace(",", ";"), "line 1 has one column: the fields must be separated by commas"),
        (CC2.replace(",", "\t"), "line 1 has one column: the fields must be separated by commas"),
        (CC2.rstrip(), "does not end with a line break, so it may be cut"),
        (CC2[: CC2.rindex("2.3.4")] + "\n", "line 2 has 21 fields, and the header 31: the row is shifted or cut"),
        (CC3.replace("resnet,", "resnet,extra,", 1), "line 2 has 39 fields, and the header 38"),
        (CC2.replace("resnet", '"resnet'), "this is no CSV: unexpected end of data"),
        (CC2.replace("pue", "pue,pue", 1), "line 1 has the column 'pue' twice"),
        (CC2.replace("run_id", "task_name,run_id", 1).replace("resnet,", "resnet,t,"), "file of tasks"),
        (AWS, "line 1 has no column codecarbon_version, duration, emissions"),
        (JSONL, "line 1 has no column"),
        ("<html>\n", "line 1 has no column"),
        (CC2.replace("2.3.4", "1.2.0"), "line 2: codecarbon_version is '1.2.0': versions 2 and 3 are read"),
        (CC2.replace("2.3.4", "4.0"), "line 2: codecarbon_version is '4.0'"),
        (CC2.replace(",process,", ",cluster,"), "line 2: tracking_mode is 'cluster'"),
        (CC2.replace("b2f0c7de-0001-4c1f-9d5e-000000000001", ""), "line 2: run_id is empty"),
        (CC2.replace("b2f0c7de-", '"b2f0c7de\n-').replace("000000000001", '000000000001"'), "line 2: run_id is"),
        (CC2.replace("T14:00:00", "T25:00:00"), "line 2: timestamp is '2025-11-03T25:00:00', which is not in the cal"),
        (CC2.replace("2025-11-03T14:00:00", "03.11.2025 14:00"), "which is no time such as"),
        (CC2.replace("2025-11-03", "2025-11-28"), "ends at 2025-11-28 14:00 UTC, which is in the future: its"),
        (CC2.replace("2025-11-03", "9999-11-28"), "years from 2000 on are read"),
        (CC2.replace("2025-11-03", "0001-01-01"), "years from 2000 on are read"),
        (CC2.replace(",60.0,", ",-60.0,"), "line 2: duration is '-60.0': a negative amount"),
        (CC2.replace(",60.0,", ",1e30,"), "line 2: duration is '1e30' s, which is more than ten years"),
        (CC_HEAD + CC_ROW + CC_ROW, "lines 2 and 3 are of one run"),
        (CC_HEAD + CC_ROW + CC_ROW.replace("14:00:00", "15:00:00"), "the second is no later state of the first"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_right_is_refused_in_a_sentence(text: bytes | str, said: str) -> None:
    assert said in refusal("codecarbon", text)


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("-0.5", "a negative amount"), ("nan", "which is no amount"), ("NaN", "which is no amount"),
        ("inf", "which is no amount"), ("", "is empty: a number is needed"), ("0,5", "write decimals with a point"),
        ("1.234,56", "write decimals with a point"), ("=1+1", "which is no number"), ("+1", "which is no number"),
        ("@SUM(A1)", "which is no number"), ("1_000", "which is no number"), ("0x10", "which is no number"),
        ("\uff11", "which is no number"), ("1e999", "which is no number"), ("9" * 31, "which is no number"),
        ("1e10", "too large for one figure: check its unit"), ("1 kg", "which is no number"),
        (" 1", "which is no number"),
        ("\u202e1", "which is no number"), ("\x1b[2J", "which is no number"),
    ],
)  # fmt: skip
def test_an_amount_that_is_none_is_named_with_its_line_and_column(amount: str, said: str) -> None:
    quoted = f'"{amount}"'
    told = refusal("codecarbon", CC2.replace(",0.002,", f",{quoted},"))
    assert told.startswith("line 2: emissions is ")
    assert said in told


def test_a_byte_order_mark_is_no_part_of_the_first_column() -> None:
    assert len(read("codecarbon", b"\xef\xbb\xbf" + CC2.encode()).figures) == 1
    assert len(read("azure", b"\xef\xbb\xbf" + MONTHLY.encode()).figures) == 2


def test_line_breaks_of_windows_and_empty_lines_change_nothing() -> None:
    for text in (CC2.replace("\r\n", "\n"), CC2.replace("\n", "\n\n"), CC2.replace("\r\n", "\n") + "\n\n"):
        assert len(read("codecarbon", text).figures) == 1
    assert len(read("carbontracker", TRACKER.replace("\n", "\r\n"), LOG).figures) == 1


def test_more_rows_than_the_bound_are_refused_with_the_line() -> None:
    rows = "".join(f"{CC_ROW}" for _ in range(MAX_ROWS + 1))
    assert f"has more than {MAX_ROWS} rows" in refusal("aws", "model_version,usage_account_id,usage_period_start," + (
        "usage_period_end\n" + "v1,1,2025-10-01,2025-10-31\n" * (MAX_ROWS + 1)))  # fmt: skip
    assert "lines 2 and 3 are of one run" in refusal("codecarbon", CC_HEAD + rows)  # the first defect is told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (",MTCO2e,0.3,", ",kg,0.3,", "line 2: total_scope_2_lbm_emissions_unit is 'kg', another unit: AWS"),
        (",MTCO2e,0.3,", ",,0.3,", "total_scope_2_lbm_emissions_unit is '', no unit that is known"),
        (",MTCO2e,0.3,", ",lb,0.3,", "no unit that is known"),
        (",0.001,", ",-0.001,", "line 2: total_scope_1_emissions_value is '-0.001': a negative amount"),
        (",0.001,", ',"0,001",', "write decimals with a point"),
        ("2025-10-31 23:59:59Z,2025-10-01 00:00:00Z", "2025-10-01 00:00:00Z,2025-10-31 23:59:59Z", "before it starts"),
        ("2025-10-31 23:59:59Z", "2025-12-31 23:59:59Z", "which is no calendar month"),
        ("2025-10-01 00:00:00Z", "2025-10-02 00:00:00Z", "which is no calendar month"),
        ("2025-10-31 23:59:59Z,2025-10-01 00:00:00Z", "2025-11-30 23:59:59Z,2025-11-01 00:00:00Z", "is in the future"),
        ("v3.0.0", "latest", "line 2: the model's version is 'latest', which is no number"),
        ("222222222222", "", "usage_account_id is empty"),
        ("AmazonS3", "AmazonEC2", "lines 2 and 3 state the same emissions twice: aws, scope 1, '222222222222'"),
    ],
)  # fmt: skip
def test_a_row_of_aws_that_cannot_be_right_is_named(old: str, new: str, said: str) -> None:
    assert old in AWS
    assert said in refusal("aws", AWS.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"scope1": 0.25', '"scope1": NaN', "line 1: carbon_footprint_kgCO2e.scope1 is 'NaN', which is no amount"),
        ('"scope1": 0.25', '"scope1": -0.25', "a negative amount"),
        ('"scope1": 0.25', '"scope1": true', "is 'True', not one value"),
        ('"scope1": 0.25', '"scope1": {"a": 1}', "not one value"),
        ('"scope1": 0.25', '"scope1": 1, "scope1": 2', "line 1 has a key twice in one object"),
        ('"location_based": 6.5', '"location_based": "6,5"', "write decimals with a point"),
        ('{"location_based": 6.5, "market_based": 0.25}', "6.5", "is no record of that form"),
        ("2025-10-01", "2025-10-15", "a month is named by its first day"),
        ("2025-10-01", "2025-13-01", "which is not in the calendar"),
        ("2025-10-01", "October", "which is no month such as"),
        ("2025-10-01", "2025-11-01", "which is in the future"),
        ("95FF-2EF5-5EA1", "6F81-5844-456A", ""),
        ('"usage_month"', '"month"', "line 1 has no usage_month: this is no such export"),
        ("}\n", "\n", "line 1 is no JSON"),
        ('{"usage', '[{"usage', "line 1 has no column"),
    ],
)  # fmt: skip
def test_a_row_of_google_cloud_that_cannot_be_right_is_named(old: str, new: str, said: str) -> None:
    assert old in JSONL
    if not said:  # other scopes than before: totals of one row and scopes of another do not overlap
        assert len(read("gcp", JSONL.replace(old, new)).figures) == 6
        return
    assert said in refusal("gcp", JSONL.replace(old, new))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MONTHLY[:-40], "is no JSON"),
        (MONTHLY.replace('"skipToken": null', '"skipToken": "abc"'), "more pages follow it"),
        ('{"error": {"code": "Forbidden"}}', "holds an error of Azure"),
        ('{"values": []}', "has no array `value`"),
        ('{"value": []}', "has no figure"),
        ('{"value": [1]}', "row 1 is no JSON object"),
        ('{"value": [{}]}', "row 1: dataType is empty"),
        (MONTHLY.replace("MonthlySummaryData", "OverallSummaryData", 1), "sums over all months"),
        (MONTHLY.replace("MonthlySummaryData", "ResourceItemDetailsData", 1), "import one report a file"),
        (MONTHLY.replace("2025-10-01", "2025-09-01"), "rows 1 and 2 state the same emissions twice"),
        (MONTHLY.replace("3525.67179020239,", "-3525.67,", 1), "row 1: latestMonthEmissions is '-3525.67': a negative"),
        (MONTHLY.replace("3525.67179020239,", "null,", 1), "row 1: latestMonthEmissions is 'None', which is no number"),
        (MONTHLY.replace("3525.67179020239,", "Infinity,", 1), "which is no amount"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ("[" + "{}," * (MAX_ROWS + 1) + "{}]", f"has more than {MAX_ROWS} rows"),
    ],
)  # fmt: skip
def test_an_answer_of_azure_that_cannot_be_right_is_refused(text: str, said: str) -> None:
    assert said in refusal("azure", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TRACKER.replace("345.678901234567 g", "nan g"), "line 20: CO2eq is 'nan', which is no amount"),
        (TRACKER.replace("345.678901234567 g", "345.6789"), "line 20 has no CO2eq, in g: the log is cut"),
        (TRACKER[: TRACKER.index("345.678901234567 g")], "line 20 has no CO2eq, in g"),
        (TRACKER.replace("0.987654321012 kWh", "0.98 Wh"), "line 19 has no Energy, in kWh"),
        (TRACKER.replace("Actual consumption for 10", "Actual consumption for 1"), "is no later state of the first"),
        (TRACKER.replace("2025-11-03 13:40", "2025-11-29 13:40"), "line 17: the training ends at 2025-11-29 13:40 UTC"),
        (TRACKER[TRACKER.index("Actual") :].replace("2025", "25"), "no line before it has a time"),
        ("2025-11-03 12:00:00 - Epoch 1:\n", "has no line `Actual consumption`"),
        (CC2, "has no line `Actual consumption`"),
    ],
)  # fmt: skip
def test_a_log_of_carbontracker_that_cannot_be_right_is_refused(text: str, said: str) -> None:
    assert said in refusal("carbontracker", text, LOG)


def test_a_log_that_was_renamed_is_refused_because_its_name_is_its_run() -> None:
    assert "a log is known by the name that Carbontracker gave it" in refusal("carbontracker", TRACKER, "log.txt")


@pytest.mark.parametrize(
    ("form", "more", "said"),
    [
        ("codecarbon", {"timezone": "Mars/Base"}, "the time zone 'Mars/Base' is not known"),
        ("codecarbon", {"timezone": "../../etc/passwd"}, "is not known"),
        ("codecarbon", {"month": "2025-10"}, "--month, --account and --scope are of azure files"),
        ("aws", {"timezone": "UTC"}, "--time-zone is of codecarbon and carbontracker files"),
        ("azure", {"month": "10/2025"}, "--month is '10/2025', which is no month"),
        ("azure", {"month": "2025-10"}, "its report has dates of its own: leave --month out"),
        ("azure", {"scope": "4"}, "--scope must be one of 1, 2-location"),
        ("azure", {"account": "a\nb"}, "--account is 'a"),
        ("csv", {}, "the format must be codecarbon, carbontracker, aws, gcp or azure"),
    ],
)
def test_what_is_said_beside_the_file_is_checked_too(form: str, more: dict[str, str], said: str) -> None:
    assert said in refusal(form, MONTHLY if form == "azure" else CC2, **more)


def test_a_clock_time_that_a_zone_skips_is_refused_and_of_one_that_comes_twice_the_first_counts() -> None:
    skipped = CC2.replace("2025-11-03T14:00:00", "2025-03-30T02:30:00")
    assert "which the clocks of Europe/Berlin skip" in refusal("codecarbon", skipped, timezone="Europe/Berlin")
    twice = CC2.replace("2025-11-03T14:00:00", "2025-10-26T02:30:00")
    (figure,) = read("codecarbon", twice, timezone="Europe/Berlin").figures
    assert figure.end % 86_400 == 1_800  # 00:30 UTC, before the clocks go back


@given(st.integers(0, 10**18), st.integers(0, 30))
def test_any_whole_number_of_micrograms_comes_back_exactly(amount: int, zeros: int) -> None:
    whole, rest = divmod(amount, 10**9)
    assert micrograms(f"{whole}.{rest:09d}{'0' * zeros}", "kg", "it") == (amount, False)


@given(
    st.binary(max_size=400) | st.text(max_size=400).map(str.encode),
    st.sampled_from(["codecarbon", "aws", "gcp", "azure"]),
)
def test_no_bytes_do_anything_but_be_refused(text: bytes, form: str) -> None:
    refusal(form, text)


@given(st.data())
def test_a_file_with_any_one_byte_changed_is_read_or_refused_in_a_sentence(data: st.DataObject) -> None:
    form, text, name = data.draw(
        st.sampled_from([
            ("codecarbon", CC3, ""), ("aws", AWS, ""), ("gcp", JSONL, ""), ("azure", MONTHLY, ""),
            ("carbontracker", TRACKER, LOG),
        ])
    )  # fmt: skip
    broken = bytearray(text.encode())
    broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        said = str(len(read(form, bytes(broken), name).figures))
    except ExternalFileError as error:
        said = str(error)
    assert said.isprintable()
    assert said != "0"


def test_json_that_is_valid_and_of_another_kind_is_refused() -> None:
    for value in ({}, [], 1, "x", None, {"value": {"a": 1}}, {"value": [{"dataType": 1}]}):
        refusal("azure", json.dumps(value))
        refusal("gcp", json.dumps(value) + "\n")
