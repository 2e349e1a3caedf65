"""The rows of an inventory: each under its name in the GHG Protocol, nothing in a row that is another's."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from tests.answers.test_emissions_report import DAY, Ledger
from tests.ledger.reports import a_report, book
from tests.valuation.test_grid_hours import HOUR, NOW, Told

from carbonbudget_core.node_report import NodeInfo
from carbonbudget_operator.answers.emissions_report import EmissionsReporter
from carbonbudget_operator.answers.ghg_inventory import InventoryAmounts, inventory_rows
from carbonbudget_operator.answers.report_hash import canonical_json, digest
from carbonbudget_operator.intensity_settings import ElectricityMapsSettings, IntensitySettings, StaticSourceSettings
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.closed_reports import ClosedReport, close_report
from carbonbudget_operator.ledger.valued_rows import DIRECT_UG, LOCATION_UG, UNSPLIT_UG, UPSTREAM_UG
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.timeline import Timeline
from carbonbudget_operator.valuation.grid_hours import IntensityPoller, make_sources
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

CLOUD = NodeInfo(provider_id="gce://p/europe-west4-a/i", region="europe-west4", threads=2)
STATED = {
    "type": "static", "figures": {"DE": 330}, "other_figures": {"DE": 270}, "basis": "lifecycle", "source": "s",
    "year": 2025,
}  # fmt: skip


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    starts = range(DAY, DAY + 3600, 60)
    own = [a_report(start, "own", {"p1": 3_000_000_000}, idle_uj=1_000_000_000) for start in starts]
    rented = [replace(a_report(start, "rented", {"p2": 5_000_000_000}), node_info=CLOUD) for start in starts]
    made.book(*own, *rented)
    yield made
    made.engine.dispose()


@pytest.fixture
def supplied(tmp_path: Path) -> Path:
    """Settings with a supplier's factor."""
    config = tmp_path / "supplied.yaml"
    config.write_text("carbon: {market: {supplier: {g_per_kwh: 120, source: a bill, year: 2025}}}")
    return config


def named(report: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row["ug"] for row in report["inventory"]}


STOOD_IN = "Market-based, life-cycle factors stand in; no market factor is known"
OWN = (
    "Location-based, life-cycle factors; direct share not known",
    "Scope 2, location-based (direct)",
    "Scope 2, market-based",
    "Scope 3, category 3 (upstream of electricity)",
    "Scope 3, category 2 (capital goods): embodied hardware",
)


def test_by_life_cycle_factors_no_row_is_called_scope_2_location_based_and_embodied_is_a_row_of_its_own(
    ledger: Ledger, supplied: Path
) -> None:
    """The reported case: the row `Scope 2` had life-cycle grams, and embodied ones in it."""
    report = ledger.report("--period", "2025-07", "--config", str(supplied))
    found, own = named(report), report["ownership"]["owned"]
    unsplit, direct, market, upstream, embodied = OWN
    assert (found[direct], found[upstream]) == (None, None)
    assert (found[unsplit], found[market], found[embodied]) == (
        own["location_ug"], own["market_ug"], own["embodied_ug"],
    )  # fmt: skip
    service = "Scope 3, category 1 (purchased services)"
    clouds = report["ownership"]["cloud"]
    assert found[f"{service}: embodied hardware"] == clouds["embodied_ug"] > 0
    stand_in = f"{service}: electricity, market-based; life-cycle factors stand in"
    assert found[stand_in] == clouds["market_ug"] > 0  # the supplier is not the cloud's
    assert found[f"{service}: electricity, market-based"] is None
    assert "scopes" not in report
    said = ledger.run("report", "--period", "2025-07", "--config", str(supplied))
    assert f"{direct} " in said
    assert "not known" in said
    assert f"{unsplit}: no source states the direct part" in said


def test_by_direct_factors_scope_2_has_them_and_what_is_upstream_is_not_known(ledger: Ledger, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("carbon: {zone: US-CA, basis: direct, ownership: owned}")
    report = ledger.report("--period", "2025-07", "--config", str(config))
    found = named(report)
    assert found[OWN[1]] == report["total"]["location_ug"] > 0
    assert found[OWN[3]] is None
    assert OWN[0] not in found


def test_a_life_cycle_figure_that_stands_in_for_a_market_factor_is_not_called_scope_2(ledger: Ledger) -> None:
    report = ledger.report("--period", "2025-07")
    found = named(report)
    assert found[OWN[2]] is None
    assert found[STOOD_IN] == report["ownership"]["owned"]["market_ug"] > 0
    assert not [one for one, ug in found.items() if one.startswith("Scope 2") and ug is not None]


def test_where_the_location_s_direct_part_is_known_it_stands_in_for_a_market_factor(
    ledger: Ledger, tmp_path: Path
) -> None:
    """Scope 2 Guidance, table 6.3: the grid average as by the location-based method."""
    config = tmp_path / "both.yaml"
    config.write_text(f"carbon: {{zone: DE, ownership: owned, intensity: {{sources: [{json.dumps(STATED)}]}}}}")
    report = ledger.report("--period", "2025-07", "--config", str(config))
    found = named(report)
    assert found[OWN[2]] == found[OWN[1]] > 0
    assert STOOD_IN not in found
    assert found[OWN[2]] + found[OWN[3]] == report["total"]["market_ug"] == report["total"]["location_ug"]
    (row,) = [row for row in report["inventory"] if row["name"] == OWN[2]]
    assert row["note"] == "where no market factor is configured, the location's direct factor stands in"
    contract = "{name: sun, certificate: C1, zone: DE, start: 2025-07-01, end: 2025-07-02, kwh: 1, g_per_kwh: 40}"
    config.write_text(
        f"carbon: {{zone: DE, ownership: owned, market: {{contracts: [{contract}]}}, "
        f"intensity: {{sources: [{json.dumps(STATED)}]}}}}"
    )
    part = ledger.report("--period", "2025-07", "--config", str(config))
    bought_ug = part["total"]["market_ug"] - part["total"]["stood_in_ug"]
    assert named(part)[OWN[2]] - bought_ug == pytest.approx(part["total"]["stood_in_ug"] * 270 / 330, abs=4)


def test_direct_factors_alone_stand_in_too_and_the_note_says_it(ledger: Ledger, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("carbon: {zone: US-CA, basis: direct, ownership: owned}")
    report = ledger.report("--period", "2025-07", "--config", str(config))
    (row,) = [row for row in report["inventory"] if row["name"] == OWN[2]]
    assert row["ug"] == report["total"]["location_ug"] == report["total"]["stood_in_ug"] > 0
    assert row["note"].endswith("the location's direct factor stands in")


def test_a_contract_of_0_g_is_a_row_of_0_with_the_share_that_it_covers(ledger: Ledger, tmp_path: Path) -> None:
    """The reported case: it was printed as not known."""
    config = tmp_path / "contract.yaml"
    contract = "{name: sun, certificate: C1, zone: DE, start: 2025-07-01, end: 2025-07-02, kwh: 1}"
    config.write_text(f"carbon: {{zone: DE, ownership: owned, market: {{contracts: [{contract}]}}}}")
    report = ledger.report("--period", "2025-07", "--config", str(config))
    rows = {row["name"]: row for row in report["inventory"]}
    percent = int(100 / (24 * Decimal(report["total"]["facility_energy_kwh"])))  # a 24th of a kWh
    assert 0 < percent < 99
    assert (rows[OWN[2]]["ug"], rows[OWN[2]]["note"]) == (0, f"covers {percent} % of the energy")
    assert rows[STOOD_IN]["note"].endswith(f"; covers {99 - percent} % of the energy")


def test_a_row_of_a_part_of_the_energy_says_of_which_part() -> None:
    """Nine tenths have no direct factor, and a half has no market factor."""
    its = InventoryAmounts(
        100, direct_ug=7, upstream_ug=3, unsplit_ug=90, market_ug=50, embodied_ug=1, stood_in_ug=50,
        stood_in_direct_ug=7, stood_in_upstream_ug=3, facility_uj=1000, direct_uj=100, upstream_uj=100, market_uj=600,
    )  # fmt: skip
    found = {row.name: (row.micrograms, row.note) for row in inventory_rows({"owned": its})}
    unsplit, direct, market, upstream, _ = OWN
    assert found[direct] == (7, "covers 10 % of the energy")
    assert (found[unsplit][0], found[unsplit][1].split("; ")[-1]) == (90, "covers 90 % of the energy")
    assert found[market][0] == 50 - 50 + 7
    assert found[market][1].endswith("the location's direct factor stands in; covers 60 % of the energy")
    assert (found[STOOD_IN][0], found[STOOD_IN][1].split("; ")[-1]) == (40, "covers 40 % of the energy")
    assert (found[upstream][0], found[upstream][1].split("; ")[-1]) == (3, "covers 10 % of the energy")
    few = replace(its, direct_uj=1)
    assert next(iter(inventory_rows({"owned": few}))).note == "covers less than 1 % of the energy"


@given(
    st.lists(st.integers(0, 10**12), min_size=3, max_size=3), st.lists(st.integers(0, 10**9), min_size=7, max_size=7)
)
def test_the_rows_of_either_method_add_up_to_what_budgets_count_and_are_null_only_for_no_energy(
    energies: list[int], ug: list[int]
) -> None:
    """Three kinds of energy: with market and direct factor, with a direct one alone, and with neither."""
    bought, split, neither = energies
    market, direct, upstream, direct_in, upstream_in, unsplit, stood_in = (
        ug[0] * (bought > 0), ug[1] * (bought > 0), ug[2] * (bought > 0), ug[3] * (split > 0), ug[4] * (split > 0),
        ug[5] * (neither > 0), ug[5] * (neither > 0),
    )  # fmt: skip
    its = InventoryAmounts(
        location_ug=direct + upstream + direct_in + upstream_in + unsplit, direct_ug=direct + direct_in,
        upstream_ug=upstream + upstream_in, unsplit_ug=unsplit, market_ug=market + direct_in + upstream_in + stood_in,
        stood_in_ug=direct_in + upstream_in + stood_in, stood_in_direct_ug=direct_in, stood_in_upstream_ug=upstream_in,
        facility_uj=sum(energies), direct_uj=bought + split, upstream_uj=bought + split, market_uj=bought + split,
    )  # fmt: skip
    for ownership in ("owned", "cloud", "leased"):
        rows = list(inventory_rows({ownership: its}))
        sums = {
            method: sum(row.micrograms or 0 for row in rows if row.method == method)
            for method in ("location", "market")
        }
        (of_upstream,) = (row for row in rows if "upstream of" in row.name)
        assert sums["location"] + (of_upstream.micrograms or 0) == its.location_ug
        assert sums["market"] + upstream_in == its.market_ug
        unknown = {row.name for row in rows if row.micrograms is None}
        assert bool(unknown) == (neither > 0 == bought + split)
        assert all(row.kind != "stands_in" for row in rows) == (not neither)


def test_each_row_says_whether_it_belongs_in_the_sum(ledger: Ledger, tmp_path: Path) -> None:
    report = ledger.report("--period", "2025-07")
    kinds = {row["name"]: (row["kind"], row["method"]) for row in report["inventory"]}
    unsplit, direct, market, upstream, embodied = OWN
    assert kinds[direct] == ("inventory", "location")
    assert kinds[unsplit] == ("stands_in", "location")
    assert kinds[market] == ("inventory", "market")
    assert kinds[STOOD_IN] == ("stands_in", "market")
    assert kinds[upstream] == ("inventory", "both")
    assert kinds[embodied] == ("kpi", "both")
    assert kinds["Scope 3, category 1 (purchased services): embodied hardware"] == ("inventory", "both")
    (row,) = [row for row in report["inventory"] if row["name"] == embodied]
    assert row["note"].endswith("the GHG Protocol counts a capital good whole in the year of purchase")
    config = tmp_path / "config.yaml"
    config.write_text("carbon: {zone: DE, ownership: leased}")
    leased = ledger.report("--period", "2025-07", "--config", str(config))["inventory"]
    assert {row["kind"] for row in leased if "embodied" in row["name"] or "upstream of" in row["name"]} == {"optional"}
    assert [row["note"] for row in [*report["inventory"], *leased] if "year of purchase" in row["note"]] == [
        row["note"]
    ]
    said = ledger.run("report", "--period", "2025-07")
    for kind in ("inventory", "stands_in", "kpi"):
        assert kind in said.split()


def test_what_a_contract_covers_is_scope_2_and_only_the_rest_stands_in(ledger: Ledger, tmp_path: Path) -> None:
    config = tmp_path / "contract.yaml"
    contract = "{name: sun, certificate: C1, zone: DE, start: 2025-07-01, end: 2025-07-02, kwh: 1, g_per_kwh: 40}"
    config.write_text(f"carbon: {{zone: DE, ownership: owned, market: {{contracts: [{contract}]}}}}")
    report = ledger.report("--period", "2025-07", "--config", str(config))
    found, total = named(report), report["total"]
    stood_in = found[STOOD_IN]
    assert 0 < found[OWN[2]] < stood_in == total["stood_in_ug"]
    assert found[OWN[2]] + stood_in == total["market_ug"]
    assert found[OWN[2]] == pytest.approx(10**9 * 40 / 1000 / 24, rel=1e-3)  # a 24th of a kWh at 40 g


def test_leased_machines_that_others_operate_are_category_8(ledger: Ledger, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("carbon: {zone: DE, ownership: leased}")
    report = ledger.report("--period", "2025-07", "--config", str(config))
    assert set(report["ownership"]) == {"leased"}
    assert all(name.startswith("Scope 3, category 8 (upstream leased assets): ") for name in named(report))


def test_the_csv_has_the_same_rows(ledger: Ledger) -> None:
    report = ledger.report("--period", "2025-07")
    lines = list(csv.DictReader(io.StringIO(ledger.run("report", "--period", "2025-07", "-o", "csv"))))
    columns = ("name", "emissions_g", "note", "row_kind", "row_method")
    found = [tuple(line[column] for column in columns) for line in lines if line["kind"] == "inventory"]
    assert found == [
        (row["name"], row["g"] or "", row["note"], row["kind"], row["method"]) for row in report["inventory"]
    ]
    assert {line["name"] for line in lines if line["kind"] == "ownership"} == {"owned", "cloud"}


def test_the_location_based_rows_of_all_ownerships_add_up_to_what_budgets_count(ledger: Ledger) -> None:
    total = ledger.report("--period", "2025-07")["total"]
    assert total["location_ug"] == total["unsplit_ug"]
    assert (total["direct_ug"], total["upstream_ug"]) == (0, 0)
    assert sum(row["ug"] for row in ledger.report("--period", "2025-07")["inventory"] if row["name"].startswith((
        "Location-based", "Scope 3, category 1 (purchased services): electricity, location-based (life-cycle")
    )) == total["location_ug"]  # fmt: skip


def test_an_amount_of_nothing_is_0_and_not_unknown() -> None:
    found = {row.name: row.micrograms for row in inventory_rows({"owned": InventoryAmounts(0, 0, 0, 0, 0, 0)})}
    assert found == dict.fromkeys(OWN[1:], 0)
    known = dict.fromkeys(("facility_uj", "direct_uj", "upstream_uj", "market_uj"), 9)
    its = InventoryAmounts(24, 0, 24, 0, 24, 5, **known)
    hydro = {row.name: row.micrograms for row in inventory_rows({"owned": its})}
    assert (hydro[OWN[1]], hydro[OWN[3]]) == (0, 24)


def former(report: dict[str, Any]) -> dict[str, Any]:
    """A report as the version before wrote it."""
    added = {f"{part}_{unit}" for part in ("direct", "upstream", "unsplit", "stood_in") for unit in ("ug", "g")}

    def figures(found: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in found.items() if key not in added}

    names = {"owned": "Scope 2", "cloud": "Scope 3, category 1"}
    kept = {key: value for key, value in report.items() if key not in ("inventory", "ownership", "covers", "settings")}
    return kept | {
        "total": figures(report["total"]),
        "scopes": {names[name]: figures(found) for name, found in report["ownership"].items()},
        "namespaces": {name: figures(found) for name, found in report["namespaces"].items()},
    }


def test_a_report_that_a_former_version_closed_is_shown_verified_and_compared_as_it_was(ledger: Ledger) -> None:
    text = canonical_json(former(ledger.report("--period", "2025-07")))
    with ledger.engine.begin() as connection:
        close_report(connection, "default", ClosedReport("2025-07", DAY + 40 * 86_400, digest(text), text.decode()))
    assert ledger.report("--period", "2025-07")["closed"]["restatement"] == []
    assert f"matches sha256 {digest(text)}" in ledger.run("report", "verify", "2025-07")
    shown = ledger.run("report", "show", "2025-07")
    assert "Scope 2 " in shown
    assert "GHG Protocol" not in shown
    assert json.loads(ledger.run("report", "show", "2025-07", "-o", "json")) == json.loads(text)
    assert "scope,Scope 2," in ledger.run("report", "show", "2025-07", "-o", "csv")
    ledger.book(a_report(DAY + 3600, "own", {"p1": 3_000_000}, namespace="covers"))  # it came late
    changed = ledger.report("--period", "2025-07")["closed"]["restatement"]
    assert any(line.startswith("scopes.Scope 2.it_energy_uj: closed as ") for line in changed)
    assert any(line.startswith("namespaces.covers: closed as null") for line in changed)
    assert not any("inventory" in line or "unsplit" in line or "ownership" in line for line in changed)


def test_a_report_that_was_closed_before_rows_had_kinds_differs_by_its_figures_alone(ledger: Ledger) -> None:
    report = ledger.report("--period", "2025-07")
    keys = ("name", "ownership", "ug", "g")
    rows = [{**{key: row[key] for key in keys}, "note": "as it was"} for row in report["inventory"]]
    closed = {key: value for key, value in report.items() if key != "settings"} | {"inventory": rows}
    text = canonical_json(closed)
    with ledger.engine.begin() as connection:
        close_report(connection, "default", ClosedReport("2025-07", DAY + 40 * 86_400, digest(text), text.decode()))
    assert ledger.report("--period", "2025-07")["closed"]["restatement"] == []
    for form in ("table", "csv", "html"):
        assert "as it was" in ledger.run("report", "show", "2025-07", "-o", form)
    ledger.book(a_report(DAY + 3600, "own", {"p1": 3_000_000}))  # it came late
    changed = ledger.report("--period", "2025-07")["closed"]["restatement"]
    assert any(line.startswith("inventory: closed with ") for line in changed)
    assert not any("kind" in line for line in changed)


def test_the_page_of_a_report_has_the_kind_of_each_row(ledger: Ledger) -> None:
    page = ledger.run("report", "--period", "2025-07", "-o", "html")
    for kind in ("inventory", "stands_in", "kpi"):
        assert f'<td class="text">{kind}</td>' in page


def a_year(engine: sa.Engine) -> None:
    book(Booker(engine), *(a_report(HOUR + 3600 * i, pods={"p": 9_000_000_007, "q": 1_003}) for i in range(4)))


def test_where_a_source_states_both_bases_direct_and_upstream_are_the_life_cycle(engine: sa.Engine) -> None:
    a_year(engine)
    source = StaticSourceSettings.model_validate(STATED)
    settings = Settings(carbon=CarbonSettings(zone="DE", pue=1.2, intensity=IntensitySettings(sources=[source])))
    found = list(ValuedReader(engine, settings).rows(HOUR, HOUR + 4 * 3600))
    for row in found:
        assert row.figures[DIRECT_UG] + row.figures[UPSTREAM_UG] == sum(row.figures[LOCATION_UG])
        assert row.figures[UNSPLIT_UG] == 0
    location, direct = (sum(sum(row.figures[column]) for row in found) for column in (LOCATION_UG, slice(14, 15)))
    assert direct == pytest.approx(location * 270 / 330, abs=4)
    alone = source.model_copy(update={"other_figures": {}})
    without = Settings(carbon=CarbonSettings(zone="DE", pue=1.2, intensity=IntensitySettings(sources=[alone])))
    before = list(ValuedReader(engine, without).rows(HOUR, HOUR + 4 * 3600))
    assert sum(sum(row.figures[LOCATION_UG]) for row in before) == location  # what budgets count does not change
    assert sum(row.figures[UNSPLIT_UG] for row in before) == location
    reporter = EmissionsReporter(engine, settings)
    list(reporter.run(HOUR, HOUR + 4 * 3600, NOW))
    ug = {row["name"]: row["ug"] for row in reporter.result()["inventory"]}  # type: ignore[index,union-attr] # rows
    assert ug[OWN[1]] + ug[OWN[3]] == location
    assert any("direct and life-cycle" in factor for factor in reporter.result()["factors"])  # type: ignore[union-attr]


@pytest.mark.parametrize(("basis", "other"), [("lifecycle", 331), ("direct", 329)])
def test_stated_figures_whose_direct_part_is_more_than_the_whole_stop_the_start(basis: str, other: int) -> None:
    """They would be left out of every report without a word."""
    given = STATED | {"basis": basis, "other_figures": {"de": other}}
    with pytest.raises(ValidationError, match=r"DE: the direct figure is above the life-cycle figure"):
        StaticSourceSettings.model_validate(given)
    StaticSourceSettings.model_validate(given | {"other_figures": {"de": 330}})


async def test_an_hour_whose_other_basis_fails_keeps_its_figure_and_is_not_split(engine: sa.Engine) -> None:
    a_year(engine)
    first = ElectricityMapsSettings(name="first", key_file=Path("/none"), both_bases=True)
    settings = Settings(
        carbon=CarbonSettings(zone="DE", pue=1.0, intensity=IntensitySettings(sources=[first], max_age_hours=0))
    )
    other = Told(says={0: 70_000, 1: 120_000})
    said = dict.fromkeys(range(4), 100000)
    follower = IntensityPoller(engine, settings, CollectorRegistry(), [Told(says=said)], {"first": other})
    await follower.step(NOW)
    with engine.connect() as connection:
        c = schema.grid_hour.c
        kept = connection.execute(sa.select(c.basis, sa.func.count()).group_by(c.basis).order_by(c.basis)).all()
    assert [tuple(row) for row in kept] == [("direct", 2), ("lifecycle", 4)]

    def parts(at: int) -> tuple[bool, bool]:
        found = list(ValuedReader(engine, settings).rows(HOUR + 3600 * at, HOUR + 3600 * (at + 1)))
        return any(row.figures[DIRECT_UG] for row in found), any(row.figures[UNSPLIT_UG] for row in found)

    assert parts(0) == (True, False)
    assert parts(1) == (False, True)  # a direct part that is more than the whole
    assert parts(2) == (False, True)  # none was said
    other.error = "no"
    await IntensityPoller(
        engine, settings, CollectorRegistry(), [Told(says=said | {0: 90_000})], {"first": other}
    ).step(NOW + 1800)
    with engine.connect() as connection:
        assert 90_000 in set(connection.scalars(sa.select(c.mg_per_kwh).where(c.basis == "lifecycle", c.hour == HOUR)))


async def test_a_figure_that_is_kept_is_an_answer_also_where_the_other_basis_fails(
    engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """A plan without direct figures must not look like a source that is away, and nothing stands in for its figures."""
    a_year(engine)
    first = ElectricityMapsSettings(name="first", key_file=Path("/none"), both_bases=True)
    settings, registry = (
        Settings(carbon=CarbonSettings(zone="DE", intensity=IntensitySettings(sources=[first]))),
        CollectorRegistry(),
    )
    source, other = Told(says=dict.fromkeys(range(4), 100_000)), Told(error="first: no direct figures in this plan")
    follower = IntensityPoller(engine, settings, registry, [source], {"first": other})
    for force in (False, True):
        await follower.step(NOW, force)
    labels = ({"source": "first", "outcome": outcome} for outcome in ("answered", "failed"))
    assert [registry.get_sample_value("carbonbudget_intensity_polls_total", its) for its in labels] == [2, 2]
    (message,) = caplog.messages
    assert (
        message
        == "zone DE: first: no direct figures in this plan; its hours are not set apart into direct and upstream"
    )
    source.error = "first: away"
    await follower.step(NOW, force=True)
    assert caplog.messages[1:] == ["zone DE: first: away; former and yearly figures stand in"]


def test_the_other_basis_is_asked_for_only_where_the_settings_say_so() -> None:
    maps = ElectricityMapsSettings(key_file=Path("/none"))
    stated = StaticSourceSettings.model_validate(STATED)
    given = {
        "asks": maps.model_copy(update={"name": "asks", "both_bases": True}),
        "states": stated.model_copy(update={"name": "states"}),
        "does not ask": maps.model_copy(update={"name": "does not ask"}),
        "does not state": stated.model_copy(update={"name": "does not state", "other_figures": {}}),
    }
    carbon = Timeline.always(CarbonSettings(intensity=IntensitySettings(sources=list(given.values()))))
    assert [source.name for source in make_sources(carbon, other=True).at(0)] == ["asks"]
    assert [source.name for source in make_sources(carbon).at(0)] == ["asks", "does not ask"]
