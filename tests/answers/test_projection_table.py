"""The table of projections: what reserved capacity emits, and what former runs emitted."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from tests.answers.runs import a_job_report
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.projection_table import ProjectionTable
from carbonbudget_operator.answers.runs_by_owner import RunQueriesAnswerer
from carbonbudget_operator.api.budget_query_bodies import BudgetQuery, Component, RunQuery
from carbonbudget_operator.carbon.grid_factors import NO_PROVIDER, find_factor
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.workload_owners import WorkloadOwner, store_owners
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR = 3600
DAY = 1_761_868_800
EVERYTHING: list[Component] = ["Dynamic", "Idle", "Overhead", "Embodied"]
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))


def a_table(engine: sa.Engine) -> ProjectionTable:
    return ProjectionTable(ValuedReader(engine, SETTINGS))


def test_before_any_report_the_bundled_figures_stand_in_and_say_so(engine: sa.Engine) -> None:
    table = a_table(engine).table(DAY)
    (rate,) = table.rates
    assert (rate.modelled, rate.instance_type, table.runs, table.as_of) == (True, "", [], DAY)
    # 3.5 W of a thread for an hour, PUE 1.2, at the zone's lifecycle intensity; an A100 is 400 W.
    factor = find_factor(region="", provider=NO_PROVIDER, zone="DE", pue_permille=1200, basis="lifecycle")
    assert rate.core_hour_location_ug == round(3.5 * 1.2 * factor.intensity_mg_per_kwh)
    assert rate.gpu_hour_location_ug == round(400 * 1.2 * factor.intensity_mg_per_kwh)
    assert rate.core_hour_market_ug == rate.core_hour_location_ug > 0
    assert rate.core_hour_embodied_ug > 0


def test_a_core_hours_rate_times_what_is_reserved_is_what_pods_bore(engine: sa.Engine) -> None:
    # Two pods of 100m and 200m over 60 windows: 0.3 core-hours, more than they used.
    windows = (a_job_report(DAY + 60 * n, {"p1": ("a", 10_000), "p2": ("b", 20_000)}) for n in range(60))
    book(Booker(engine), *windows, a_report(DAY + HOUR, "n1", {}))
    (rate,) = a_table(engine).table(DAY + HOUR + 90).rates
    (answer,) = BudgetUseQueries(ValuedReader(engine, SETTINGS)).budgets(
        [
            BudgetQuery(
                id="x", namespaces=["*"], start=DAY, end=DAY + HOUR, include=["Dynamic", "Idle", "Overhead", "Embodied"]
            )
        ]
    )
    bore_ug = answer.used_ug - answer.parts.embodied_ug
    assert rate.core_hour_location_ug == pytest.approx(bore_ug / 0.3, abs=10)
    assert rate.core_hour_embodied_ug == pytest.approx(answer.parts.embodied_ug / 0.3, abs=10)
    assert (rate.modelled, rate.gpu_hour_location_ug) == (False, 0)


def test_gpus_energy_is_theirs_and_each_instance_type_has_its_rate(engine: sa.Engine) -> None:
    big = 10**10
    starts = range(DAY, DAY + HOUR, 60)
    trained = [a_job_report(start, {"g": ("train", big)}, "gpu-1", gpus=4, instance_type="p4d") for start in starts]
    loaded = [a_job_report(start, {"c": ("etl", big)}, "cpu-1", instance_type="m5") for start in starts]
    book(Booker(engine), *trained, *loaded)
    kinds = (("gpu-1", "p4d", 4), ("cpu-1", "m5", 0))
    book(Booker(engine), *(a_job_report(DAY + HOUR, {}, node, gpus=n, instance_type=kind) for node, kind, n in kinds))
    rates = {rate.instance_type: rate for rate in a_table(engine).table(DAY + HOUR + 90).rates}
    assert set(rates) == {"", "m5", "p4d"}
    assert rates["p4d"].gpu_hour_location_ug == rates[""].gpu_hour_location_ug
    # Four GPUs held, 50 J a window and GPU: 3 kJ of one in the hour, PUE 1.2.
    factor = find_factor(region="", provider=NO_PROVIDER, zone="DE", pue_permille=1200, basis="lifecycle")
    assert rates["p4d"].gpu_hour_location_ug == pytest.approx(3000 * 1.2 * factor.intensity_mg_per_kwh / 3600, abs=2)
    assert rates["p4d"].gpu_hour_embodied_ug > rates["m5"].gpu_hour_embodied_ug == 0
    assert rates["m5"].core_hour_location_ug > 0
    assert rates["m5"].gpu_hour_location_ug == 0


def test_former_runs_are_means_of_a_workloads_pods_the_latest_first(engine: sa.Engine) -> None:
    windows = [
        a_job_report(DAY, {"a1": ("nightly-1", 10**9)}),
        a_job_report(DAY + HOUR, {"a2": ("nightly-2", 2 * 10**9)}),
        a_job_report(DAY + HOUR + 60, {"a2": ("nightly-2", 2 * 10**9)}),
        a_job_report(DAY + 2 * HOUR, {"t": ("train", 7)}, namespace="team-b"),
        a_job_report(DAY + 2 * HOUR, {"web": ("web-1", 7)}, "n2", kind="ReplicaSet"),
        a_report(DAY + 3 * HOUR, "n1", {}),
        a_report(DAY + 3 * HOUR, "n2", {}),
    ]
    book(Booker(engine), *windows)
    owners = {f"uid-nightly-{n}": WorkloadOwner("CronJob", "nightly", "c") for n in (1, 2)}
    store_owners(engine, owners, {DAY, DAY + HOUR})
    runs = a_table(engine).table(DAY + 3 * HOUR + 90).runs
    assert [(run.namespace, run.workload, run.pods) for run in runs] == [
        ("team-b", "Job/train", 1),
        ("team-a", "CronJob/nightly", 2),
    ]
    _, found = RunQueriesAnswerer(ValuedReader(engine, SETTINGS)).answers([
        RunQuery(id=name, namespace="team-a", kind="Job", name=name, start=DAY, end=DAY + 9 * HOUR)
        for name in ("nightly-1", "nightly-2")
    ])  # fmt: skip
    nightly = runs[1]
    assert nightly.pod_location_ug == sum(answer.location_ug for answer in found) // 2
    assert nightly.pod_market_ug == sum(answer.market_ug for answer in found) // 2
    assert nightly.pod_embodied_ug == sum(answer.embodied_ug for answer in found) // 2
    assert nightly.pod_seconds == 90


def test_former_runs_of_more_than_fourteen_days_ago_are_forgotten(engine: sa.Engine) -> None:
    later = DAY + 15 * 24 * HOUR
    book(Booker(engine), a_job_report(DAY, {"a": ("old", 10**9)}))
    book(Booker(engine), a_job_report(later - 15 * HOUR, {"b": ("new", 10**9)}), a_report(later, "n1", {}))
    assert [run.workload for run in a_table(engine).table(later + 90).runs] == ["Job/new"]


def test_the_table_is_made_anew_after_a_minute_and_sees_what_came(engine: sa.Engine) -> None:
    table = a_table(engine)
    first = table.table(DAY)
    book(Booker(engine), a_job_report(DAY, {"a": ("job", 10**9)}))
    assert table.table(DAY + 59) is first
    second = table.table(DAY + 60)
    assert (second.as_of, second.rates[0].modelled) == (DAY + 60, False)  # of the hour that is open: there is no other
    book(Booker(engine), *(a_job_report(DAY + 60 * n, {"a": ("job", 10**10)}) for n in range(1, 61)))
    third = table.table(DAY + HOUR + 120)
    assert third.rates[0].core_hour_location_ug > second.rates[0].core_hour_location_ug
    assert [run.workload for run in third.runs] == ["Job/job"]
