"""Single runs: the runs of a group add up to the group, pod by pod, whatever their pods did."""

from __future__ import annotations

import datetime as dt
import random

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from tests.answers.runs import a_job_report
from tests.ledger.reports import a_report, book

from carbonbudget_operator.allocation.policy import AllocationPolicy, IdleRule, OverheadRule
from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.runs_by_owner import RunQueriesAnswerer
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, BudgetQuery, Component, RunAnswer, RunQuery
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.stored_units import HOURS
from carbonbudget_operator.ledger.valued_rows import COLUMNS, IDLE_UJ
from carbonbudget_operator.ledger.workload_owners import WorkloadOwner, store_owners
from carbonbudget_operator.settings import AllocationSettings, CarbonSettings, Settings
from carbonbudget_operator.timeline import Timeline
from carbonbudget_operator.valuation.pod_split import PodWeight, split_row
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR = 3600
DAY = 1_761_868_800
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
EVERYTHING: list[Component] = ["Dynamic", "Idle", "Overhead", "Embodied"]
AMOUNT = st.integers(0, 10**13)
PARTS = st.lists(st.builds(PodWeight, AMOUNT, AMOUNT, AMOUNT), min_size=1, max_size=6)
POLICIES = st.builds(AllocationPolicy, st.sampled_from(IdleRule), st.sampled_from(OverheadRule))


@given(st.lists(AMOUNT, min_size=COLUMNS, max_size=COLUMNS), PARTS, POLICIES)
def test_the_pods_of_a_row_add_up_to_it_column_by_column(
    figures: list[int], pods: list[PodWeight], policy: AllocationPolicy
) -> None:
    shares = split_row(figures, pods, policy)
    assert len(shares) == len(pods)
    assert [sum(column) for column in zip(*shares, strict=True)] == figures
    assert min(map(min, shares)) >= 0


@given(PARTS, POLICIES, AMOUNT)
def test_a_pod_keeps_the_idle_energy_of_what_it_held(
    pods: list[PodWeight], policy: AllocationPolicy, more: int
) -> None:
    figures = [0] * COLUMNS
    figures[IDLE_UJ] = sum(pod.held_uj for pod in pods) + more
    for share, pod in zip(split_row(figures, pods, policy), pods, strict=True):
        assert share[IDLE_UJ] >= pod.held_uj


def ask(engine: sa.Engine, *names: str, settings: Settings = SETTINGS, **given: object) -> list[RunAnswer]:
    whole = {"namespace": "team-a", "kind": "Job", "start": DAY, "end": DAY + 90 * HOUR}
    queries = [RunQuery.model_validate(whole | {"id": name, "name": name} | given) for name in names]
    _, answers = RunQueriesAnswerer(ValuedReader(engine, settings)).answers(queries)
    assert [answer.id for answer in answers] == list(names)
    return answers


def budget(engine: sa.Engine, settings: Settings = SETTINGS, **given: object) -> BudgetAnswer:
    whole = {"id": "x", "namespaces": ["team-a"], "start": DAY, "end": DAY + 90 * HOUR, "include": EVERYTHING}
    (answer,) = BudgetUseQueries(ValuedReader(engine, settings)).budgets([BudgetQuery.model_validate(whole | given)])
    return answer


JOBS = [f"nightly-{n}" for n in range(6)]


def fill(engine: sa.Engine, seed: int) -> None:
    """Jobs of one CronJob with a few pods each, over ten hours and two nodes, beside others."""
    chance = random.Random(seed)
    reports = []
    for hour in range(10):
        for node in ("n1", "n2"):
            jobs = chance.sample(JOBS, 3)
            pods = {
                f"{job}-{node}-{pod}": (job, chance.choice([0, chance.randrange(10**10)]))
                for job in jobs
                for pod in range(chance.randrange(3))
            }
            at = DAY + hour * HOUR + 60 * chance.randrange(10)
            reports += [
                a_job_report(at, pods, node, gpus=chance.choice([0, 1])),
                a_report(at, node, {f"other-{hour}": chance.randrange(10**10)}, part=1),
            ]
    book(Booker(engine), *reports)
    store_owners(
        engine,
        {f"uid-{job}": WorkloadOwner("CronJob", "nightly", "c") for job in JOBS},
        {DAY + n * HOUR for n in range(10)},
    )


@pytest.mark.parametrize("idle", list(IdleRule))
@pytest.mark.parametrize("seed", [1, 2])
def test_the_runs_of_a_group_add_up_to_the_group(engine: sa.Engine, seed: int, idle: IdleRule) -> None:
    settings = SETTINGS.model_copy(update={"allocation": Timeline.always(AllocationSettings(idle=idle))})
    fill(engine, seed)
    runs = ask(engine, *JOBS, settings=settings)
    nightly = LabelSelector(match_labels={"app": "nightly"})
    whole = budget(engine, settings, selector=nightly)
    assert sum(run.energy_uj for run in runs) == whole.energy_uj > 0
    assert sum(run.location_ug + run.embodied_ug for run in runs) == whole.used_ug
    assert sum(run.embodied_ug for run in runs) == whole.parts.embodied_ug
    market = budget(engine, settings, selector=nightly, accounting="MarketBased", include=EVERYTHING[:3])
    assert sum(run.market_ug for run in runs) == market.used_ug
    assert ask(engine, *JOBS[:2], settings=settings) == runs[:2]  # whoever else is asked for


def test_runs_over_a_change_of_ownership_and_of_the_policy_add_up_to_the_group(engine: sa.Engine) -> None:
    when = dt.datetime.fromtimestamp(DAY + 4 * 3600, dt.UTC).isoformat()
    dated = Settings.model_validate({
        "carbon": {"zone": "DE", "ownership": [{"value": "owned"}, {"valid_from": when, "value": "cloud"}]},
        "allocation": {"idle": [{"value": "even"}, {"valid_from": when, "value": "byUsage"}]},
    })  # fmt: skip
    fill(engine, 1)
    runs = ask(engine, *JOBS, settings=dated)
    whole = budget(engine, dated, selector=LabelSelector(match_labels={"app": "nightly"}))
    assert sum(run.energy_uj for run in runs) == whole.energy_uj > 0
    assert sum(run.location_ug + run.embodied_ug for run in runs) == whole.used_ug


def test_a_run_alone_in_its_group_is_the_group_and_counts_its_gpus(engine: sa.Engine) -> None:
    book(Booker(engine), a_job_report(DAY, {"p1": ("train", 10**9), "p2": ("train", 5)}, gpus=2))
    book(Booker(engine), a_job_report(DAY + 60, {"p1": ("train", 10**9)}, gpus=2))
    (run,) = ask(engine, "train")
    whole = budget(engine)
    assert (run.pods, run.gpu_ms) == (2, 3 * 2 * 60_000)
    assert run.energy_uj == whole.energy_uj
    assert run.location_ug + run.embodied_ug == whole.used_ug
    assert run.measured_percent == whole.measured_percent > 0


def test_a_run_of_minutes_inside_an_hour_counts_whole(engine: sa.Engine) -> None:
    for minute in (20, 21):
        book(Booker(engine), a_job_report(DAY + minute * 60, {"p1": ("short", 10**9)}))
    book(Booker(engine), a_job_report(DAY + 59 * 60, {"p2": ("other", 10**9)}))
    (exact,) = ask(engine, "short", start=DAY + 20 * 60, end=DAY + 22 * 60)
    (long,) = ask(engine, "short")
    assert (exact.covers_from, exact.covers_to) == (DAY, DAY + HOUR)
    assert long.model_copy(update={"covers_to": exact.covers_to}) == exact  # of a longer span, and the same figures
    assert exact.energy_uj > 2 * 10**9


def test_the_uid_tells_runs_of_one_name_apart_and_the_namespace_too(engine: sa.Engine) -> None:
    book(Booker(engine), a_job_report(DAY, {"p1": ("train", 10**9)}))
    book(Booker(engine), a_job_report(DAY, {"p2": ("train", 10**9)}, "n2", namespace="team-b"))
    assert ask(engine, "train", uid="uid-train")[0].pods == 1
    assert ask(engine, "train", uid="former")[0].pods == 0
    assert ask(engine, "train", kind="ReplicaSet")[0].pods == 0
    assert ask(engine, "train", namespace="team-c")[0].pods == 0
    one, two = ask(engine, "train"), ask(engine, "train", namespace="team-b")
    assert one[0].energy_uj > 10**9
    assert two[0].energy_uj > 10**9


def test_what_is_absent_or_sealed_has_no_pods(engine: sa.Engine) -> None:
    assert ask(engine, "train")[0].pods == 0  # an empty ledger
    book(Booker(engine), a_job_report(DAY, {"p1": ("train", 10**9)}), a_job_report(DAY + HOUR, {"p1": ("train", 7)}))
    both = ask(engine, "train")[0].energy_uj
    deriver = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while deriver.step(DAY + 40 * 24 * HOUR) is not None:
        pass
    assert ask(engine, "train")[0].energy_uj == both
    assert deriver.seal(DAY + 36 * 24 * HOUR + 1800 + HOUR) == (HOURS, DAY)
    (left,) = ask(engine, "train")
    assert (left.pods, left.energy_uj < 10**9) == (1, True)
    assert ask(engine, "train", end=DAY + HOUR)[0].pods == 0
