"""Dated settings: plain values as ever, or lists of values with the instant from which each is in force."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from carbonbudget_operator.dated_settings import DATED, is_dated
from carbonbudget_operator.settings import AllocationSettings, CarbonSettings, Settings, SettingsError, load_settings
from carbonbudget_operator.timeline import HOUR
from carbonbudget_operator.valuation.node_factors import check_all_places

ROOT = Path(__file__).resolve().parents[2]
JULY = 1_782_864_000  # 2026-07-01T00:00Z
RATE = {"g_per_kwh": 120, "source": "bill", "year": 2026}


def load(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    return load_settings(tmp_path / "config.yaml", {})


def both(value: object, other: object) -> list[dict[str, object]]:
    return [{"value": value}, {"valid_from": "2026-07-01", "value": other}]


def test_a_plain_value_is_in_force_at_all_times(tmp_path: Path) -> None:
    carbon = load(tmp_path, "carbon: {pue: 1.4, zone: DE}").carbon
    assert carbon.starts == (0,)
    assert carbon.values == (CarbonSettings(pue=1.4, zone="DE"),)


def test_a_dated_value_is_in_force_from_its_instant_on(tmp_path: Path) -> None:
    carbon = load(tmp_path, "carbon: {pue: [{value: 1.4}, {valid_from: 2026-07-01, value: 1.2}], zone: DE}").carbon
    assert [carbon.at(at).pue for at in (0, JULY - 1, JULY, JULY + 10**9)] == [1.4, 1.4, 1.2, 1.2]
    assert {its.zone for its in carbon.values} == {"DE"}


@pytest.mark.parametrize(
    "written",
    [
        "2026-07-01", "'2026-07-01'", "2026-07-01T00:00:00Z", "'2026-07-01T00:00:00Z'", "2026-07-01 00:00:00",
        "2026-07-01T02:00:00+02:00", "'2026-07-01T05:30:00+05:30'",
    ],
)  # fmt: skip
def test_an_instant_may_be_a_date_in_utc_or_have_a_zone(tmp_path: Path, written: str) -> None:
    carbon = load(tmp_path, f"carbon: {{pue: [{{value: 1.4}}, {{valid_from: {written}, value: 1.2}}]}}").carbon
    assert carbon.starts == (0, JULY)


@pytest.mark.parametrize(
    ("model", "path", "values"),
    [
        (CarbonSettings, "zone", ("DE", "FR")),
        (CarbonSettings, "pue", (None, 1.2)),
        (CarbonSettings, "ownership", ("owned", "cloud")),
        (CarbonSettings, "provider", ("own", "gcp")),
        (CarbonSettings, "market.supplier", (None, RATE)),
        (CarbonSettings, "market.residual_mixes", ([], [RATE | {"zone": "DE"}])),
        (CarbonSettings, "market.residual_mixes", ([RATE | {"zone": "FR"}], [RATE | {"zone": "DE"}])),
        (CarbonSettings, "market.attested_providers", (["gcp"], ["gcp", "aws"])),
        (CarbonSettings, "embodied.server_kg", (1000, 1200)),
        (CarbonSettings, "embodied.gpu_kg", (100, None)),
        (CarbonSettings, "embodied.host_threads", (96, 128)),
        (CarbonSettings, "embodied.life_years", (4, 6)),
        (CarbonSettings, "embodied.in_service", (None, "2024-01-01")),
        (
            CarbonSettings,
            "intensity.sources",
            ([], [{"type": "static", "figures": {"DE": 300}, "basis": "lifecycle", "source": "x", "year": 2025}]),
        ),
        (AllocationSettings, "idle", ("even", "byRequest")),
        (AllocationSettings, "overhead", ("even", "proportional")),
        (AllocationSettings, "shared", ({}, {"kube-system": "even"})),
    ],
)
def test_every_setting_that_values_hours_may_be_dated(
    tmp_path: Path, model: type[BaseModel], path: str, values: tuple[object, object]
) -> None:
    """Each reads as the plain section of its time."""
    name = model.__name__.removesuffix("Settings").lower()

    def section(value: object) -> dict[str, object]:
        for key in reversed(path.split(".")):
            value = {key: value}
        return value

    dated = getattr(load(tmp_path, yaml.safe_dump({name: section(both(*values))})), name)
    assert dated.starts == (0, JULY)
    assert list(dated.values) == [model.model_validate(section(value)) for value in values]


def test_a_plain_list_may_have_items_with_a_key_value_of_their_own(tmp_path: Path) -> None:
    source = {"type": "http", "name": "x", "url": "http://x", "value": "v", "time": "t", "basis": "lifecycle"}
    carbon = load(tmp_path, yaml.safe_dump({"carbon": {"intensity": {"sources": [source]}}})).carbon
    assert [its.name for its in carbon.at(0).intensity.sources] == ["x"]


def test_keys_that_cannot_be_dated_are_those_that_the_reference_says() -> None:
    """A new key must be dated, or be named here and in docs/reference/settings.md."""

    def undated(model: type[BaseModel], prefix: str) -> set[str]:
        found = set()
        for key, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                found |= undated(field.annotation, f"{prefix}{key}.")
            elif not is_dated(model, key):
                found.add(f"{prefix}{key}")
        return found

    assert undated(CarbonSettings, "carbon.") | undated(AllocationSettings, "allocation.") == {
        "carbon.basis", "carbon.market.contracts", "carbon.intensity.interval_seconds",
        "carbon.intensity.max_age_hours", "carbon.intensity.max_forecast_age_hours", "carbon.intensity.revised_hours",
        "carbon.currency",
    }  # fmt: skip
    assert DATED in CarbonSettings.model_fields["pue"].metadata


@pytest.mark.parametrize(
    ("carbon", "sentence"),
    [
        ("{pue: []}", "carbon.pue: the list has no entry"),
        ("{pue: [1.2]}", "carbon.pue: entry 1 must be {value: ...} if it is the first"),
        ("{pue: [{value: 1.2}, {from: 2026-07-01, value: 1.1}]}", "carbon.pue: entry 2 must be {value: ...} if"),
        ("{pue: [{valid_from: 2026-07-01, value: 1.2}]}", "carbon.pue: the first entry must have no valid_from"),
        ("{pue: [{value: 1.2}, {value: 1.1}]}", "carbon.pue: entry 2 needs valid_from"),
        (
            "{pue: [{value: 1.2}, {valid_from: soon, value: 1.1}]}",
            "carbon.pue: valid_from must be a date or an instant",
        ),
        ("{pue: [{value: 1.2}, {valid_from: 5, value: 1.1}]}", "carbon.pue: valid_from must be a date or an instant"),
        ("{pue: [{value: 1.2}, {valid_from: null, value: 1.1}]}", "carbon.pue: valid_from must be a date"),
        (
            "{pue: [{value: 1.2}, {valid_from: 2026-07-01T00:10:00Z, value: 1.1}]}",
            "is inside an hour of UTC, and hours are valued as a whole: give 2026-07-01T00:00Z or 2026-07-01T01:00Z",
        ),
        (
            "{pue: [{value: 1.2}, {valid_from: '2026-07-01T00:00:00+05:30', value: 1.1}]}",
            "give 2026-06-30T18:00Z or 2026-06-30T19:00Z",
        ),
        ("{pue: [{value: 1.2}, {valid_from: 0026-07-01, value: 1.1}]}", "not between the years 1971 and 2199"),
        ("{pue: [{value: 1.2}, {valid_from: '9999-12-31T23:30:00Z', value: 1.1}]}", "the years 1971 and 2199"),
        (
            "{pue: [{value: 1.2}, {valid_from: 2026-07-01, value: 1.1}, {valid_from: 2026-06-01, value: 1}]}",
            "carbon.pue: entry 3: valid_from 2026-06-01T00:00Z must be later than that of the entry before",
        ),
        (
            "{pue: [{value: 1.2}, {valid_from: 2026-07-01, value: 0.9}]}",
            "carbon.pue: must be at least 1 (in force from 2026-07-01T00:00Z)",
        ),
        ("{basis: [{value: direct}, {valid_from: 2026-07-01, value: lifecycle}]}", "carbon.basis: this key cannot be"),
        ("{market: {contracts: [{valid_from: 2026-07-01, value: []}]}}", "carbon.market.contracts: this key cannot"),
        (
            "{intensity: {sources: [{value: []}, {valid_from: 2026-07-01, value: [{type: neso}]}]}}",
            "carbon: intensity source neso has direct figures and carbon.basis is lifecycle",
        ),
        (
            "{basis: direct, intensity: {sources: [{value: [{type: neso, name: a}]}, {valid_from: 2026-07-01, value: "
            "[{type: static, name: a, figures: {}, source: x, year: 2025, basis: direct}]}]}}",
            "intensity source a is of type neso and later of static",
        ),
    ],
)
def test_a_list_that_cannot_be_used_is_named_with_key_and_reason(tmp_path: Path, carbon: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, f"carbon: {carbon}")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_every_defect_of_every_time_is_named_once(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, "carbon: {pue: [{value: 1}, {valid_from: 2026-07-01, value: 9}], basis: x, ownership: y}")
    assert sorted(line.split(": ")[1] for line in str(error.value).split("\n")) == [
        "carbon.basis", "carbon.ownership", "carbon.pue",
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(1, 400_000), st.floats(1, 5)), max_size=5, unique_by=lambda item: item[0]))
def test_an_entry_that_is_added_later_changes_no_section_before_it(entries: list[tuple[int, float]]) -> None:
    entries = sorted(entries)
    written = [{"value": 1.5}] + [
        {"valid_from": dt.datetime.fromtimestamp((9_000 + hour) * HOUR, dt.UTC).isoformat(), "value": pue}
        for hour, pue in entries
    ]
    lines = [
        Settings.model_validate({"carbon": {"pue": written[:count], "zone": "DE"}}).carbon
        for count in range(1, len(written) + 1)
    ]
    for count, (hour, pue) in enumerate(entries, 1):
        start = (9_000 + hour) * HOUR
        assert lines[count].at(start).pue == pue
        for at in (0, start - HOUR, start - 1, *(other * HOUR for other, _ in entries[: count - 1])):
            assert lines[count].at(at) == lines[count - 1].at(at)


def test_the_example_of_dated_values_reads_as_it_says() -> None:
    """The chart gives these values to the server as they are (tests/e2e/test_chart.py renders them)."""
    values = yaml.safe_load((ROOT / "examples/13-dated-values/values.yaml").read_text(encoding="utf-8"))
    settings = Settings.model_validate(values)
    check_all_places(settings.carbon)
    changes = [dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H") for at in settings.carbon.starts[1:]]
    assert changes == ["2025-12-31T23", "2026-01-01T00", "2026-07-01T00", "2026-10-01T00"]
    assert [its.pue for its in settings.carbon.values] == [1.45, 1.45, 1.45, 1.2, 1.2]
    assert [its.idle.value for its in settings.allocation.values] == ["even", "byRequest"]
