"""The last hour's emissions by namespace and label, as the metrics show them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.ledger.reports import HOUR, a_report
from tests.server.server_face import Face, a_face

from carbonbudget_operator.answers.emission_rates import accounted, emission_rates
from carbonbudget_operator.ledger.valued_rows import COLUMNS, NAMES
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION
from carbonbudget_operator.server.emission_metrics import EmissionMetrics
from carbonbudget_operator.special_label_values import OTHER_VALUES, UNLABELLED

KEYS = ["team", "model"]


@pytest.fixture
async def face(tmp_path: Path) -> AsyncIterator[Face]:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as made:
        made.clock[0] = HOUR + 7260
        for minute in range(0, 61, 5):
            number = minute // 5
            pods = {f"pod-{number}": 1_000_000_000 * (number + 1)}
            labels = {"team": f"t{number % 3}"} if number % 4 else {"model": "m"}
            report = a_report(HOUR + 60 * minute, pods=pods, namespace=f"ns-{number % 5}", labels=labels)
            assert (await made.report(report)).status_code == 200
        yield made


def sums(rows: object) -> list[int]:
    return [sum(figures[column] for figures in rows.values()) for column in range(COLUMNS)]  # type: ignore[attr-defined]


async def test_namespaces_add_up_to_the_hour_and_labels_to_its_pods(face: Face) -> None:
    book = face.pools.book
    rates = emission_rates(book, KEYS, 100)
    assert rates is not None
    assert rates.hour == HOUR
    rows = list(book.rows(HOUR, HOUR + 3600))
    whole = [sum(row.figures[column] for row in rows) for column in range(COLUMNS)]
    pods = [sum(row.figures[column] for row in rows if not row.special) for column in range(COLUMNS)]
    assert sums(rates.by_namespace) == whole, NAMES
    for key in KEYS:
        of_key = {value: figures for (its, value), figures in rates.by_label.items() if its == key}
        assert sums(of_key) == pods
        assert UNLABELLED in of_key
    assert {"__idle__", "ns-0", "ns-4"} <= set(rates.by_namespace)


@pytest.mark.parametrize("most", [1, 2, 3, 5, 7, 100])
async def test_the_smallest_together_are_one_row_and_nothing_is_lost(face: Face, most: int) -> None:
    whole, few = (emission_rates(face.pools.book, KEYS, bound) for bound in (100, most))
    assert whole is not None
    assert few is not None
    assert sums(few.by_namespace) == sums(whole.by_namespace)
    assert len(few.by_namespace) <= most + 1
    assert (OTHER_VALUES in few.by_namespace) == (len(whole.by_namespace) > most)
    for key in KEYS:
        assert sum(its == key for its, _ in few.by_label) <= most + 1


async def test_an_hour_that_is_known_is_not_read_again_until_it_changes(face: Face) -> None:
    first = emission_rates(face.pools.book, KEYS, 10)
    assert first is not None
    assert emission_rates(face.pools.book, KEYS, 10, first.version) is None
    assert (await face.report(a_report(HOUR + 60, pods={"late": 5_000_000}))).status_code == 200
    second = emission_rates(face.pools.book, KEYS, 10, first.version)
    assert second is not None
    assert sums(second.by_namespace) > sums(first.by_namespace)


async def test_a_ledger_without_a_whole_hour_has_no_rates(tmp_path: Path) -> None:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as empty:
        assert emission_rates(empty.pools.book, KEYS, 10) is None
        metrics = EmissionMetrics(empty.pools.book, KEYS, 10)
        await metrics.step()
        assert list(metrics.collect()) == []


async def test_the_gauges_of_one_accounting_are_the_hours_grams(face: Face) -> None:
    registry, clock = CollectorRegistry(), [HOUR + 7200]
    metrics = EmissionMetrics(face.pools.book, KEYS, 3, lambda: clock[0])
    registry.register(metrics)
    await metrics.step()
    rates = emission_rates(face.pools.book, KEYS, 3)
    assert rates is not None
    for accounting in ("LocationBased", "MarketBased", "Embodied"):
        wanted = sum(
            ug for figures in rates.by_namespace.values()
            for (its, _), ug in accounted(figures).items() if its == accounting
        )  # fmt: skip
        shown = [
            sample.value for metric in registry.collect() for sample in metric.samples
            if sample.name == "carbonbudget_emissions_rate_grams_per_hour" and sample.labels["accounting"] == accounting
        ]  # fmt: skip
        assert sum(shown) == pytest.approx(wanted / 1e6)
    value = registry.get_sample_value(
        "carbonbudget_grid_intensity_grams_per_kilowatt_hour", {"zone": "WORLD", "basis": "lifecycle"}
    )
    assert value is not None
    assert value > 100
    assert registry.get_sample_value("carbonbudget_emissions_hour_timestamp_seconds") == HOUR
    assert registry.get_sample_value("carbonbudget_power_usage_effectiveness_ratio", {"zone": "WORLD"}) == 1.0
    assert 0 < (registry.get_sample_value("carbonbudget_coverage_ratio") or 0) <= 1
    clock[0] = HOUR + 5 * 3600  # no hour was completed since: an average must not go on adding this one
    assert [metric.name for metric in metrics.collect()] == ["carbonbudget_emissions_hour_timestamp_seconds"]


async def test_models_are_apart_by_namespace_and_the_smallest_together(tmp_path: Path) -> None:
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as face:
        face.clock[0] = HOUR + 7260
        for number in range(6):
            labels = {MODEL: f"m{number // 2}", "app": "x"} if number < 5 else {"app": "x"}
            if number % 2:
                labels[MODEL_VERSION] = f"v{number}"
            report = a_report(
                HOUR + 3540 * (number == 5), f"n{number}", {f"p{number}": 10**9 * (number + 1)}, labels=labels,
                namespace=f"ns-{number % 2}",
            )  # fmt: skip
            assert (await face.report(report, f"node:n{number}")).status_code == 200
        assert (await face.report(a_report(HOUR + 3600, "n5", {}), "node:n5")).status_code == 200
        whole, few = (emission_rates(face.pools.book, [], bound) for bound in (100, 2))
        assert whole is not None
        assert few is not None
        assert set(whole.by_model) == {("ns-0", "m0"), ("ns-1", "m0"), ("ns-0", "m1"), ("ns-1", "m1"), ("ns-0", "m2")}
        assert set(few.by_model) == {("ns-0", "m2"), ("ns-1", "m1"), (OTHER_VALUES, OTHER_VALUES)}
        assert sums(few.by_model) == sums(whole.by_model)
        assert ("ns-1", "m0", "v1") in whole.by_model_version
        assert ("ns-0", "m2", UNLABELLED) in whole.by_model_version
        assert set(few.by_model_version) - set(whole.by_model_version) == {(OTHER_VALUES, OTHER_VALUES, OTHER_VALUES)}
        assert sums(few.by_model_version) == sums(whole.by_model_version) == sums(whole.by_model)
        registry = CollectorRegistry()
        metrics = EmissionMetrics(face.pools.book, [], 2, lambda: HOUR + 7200.0)
        registry.register(metrics)
        await metrics.step()
        name = "carbonbudget_model_emissions_rate_grams_per_hour"
        found = {
            (sample.labels["namespace"], sample.labels["model"], sample.labels["accounting"]): sample.value
            for family in registry.collect() if family.name == name for sample in family.samples
        }  # fmt: skip
        assert len(found) == 9
        assert found["ns-0", "m2", "LocationBased"] > found["ns-1", "m1", "LocationBased"] > 0
