"""Runs that are expected to exceed the limit of each workload: told once each, and nothing else goes by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.controller.evaluation_bench import Bench
from tests.controller.evaluations import KILO, SUSPEND, an_answer, conditions, evaluated, status_of, written
from tests.controller.objects import a_body, merge, namespaces, stored
from tests.databases import make_tables
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, WorkloadUse
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.controller.budget_evaluation import evaluate_budget
from carbonbudget_operator.controller.budget_queries import period_answers, period_queries
from carbonbudget_operator.controller.prepared_budget import prepare_budget
from carbonbudget_operator.controller.run_events import RunEvents
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.span_store import Post, ProgressPoint, SpanStore
from carbonbudget_operator.server.ledger_answers import LedgerAnswers
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

EXPECTED = "ExpectedWithinLimit"


def one(name: str, used_kg: float, expected_kg: float | None, percent: int = 10) -> WorkloadUse:
    use = WorkloadUse(namespace="team-a", workload=f"Job/{name}", used_ug=int(used_kg * KILO), energy_uj=1)
    if expected_kg is not None:
        use.expected_ug, use.progress_percent = int(expected_kg * KILO), percent
        use.expected_low_ug, use.expected_high_ug = int(expected_kg * KILO * 0.9), int(expected_kg * KILO * 1.1)
    return use


def answered(*uses: WorkloadUse) -> BudgetAnswer:
    return an_answer(sum(use.used_ug for use in uses), workloads=list(uses))


def runs(*figures: tuple[float, float | None]) -> list[dict[str, Any]]:
    """Used and expected grams of runs, under a limit of 1 g."""
    return [one(f"run-{n}", used / 1000, g and g / 1000).model_dump() for n, (used, g) in enumerate(figures)]


def test_a_run_at_a_tenth_that_is_expected_to_exceed_the_limit_is_a_condition() -> None:
    answer = answered(one("train", 0.8, 7.4), one("small", 0.1, 0.9))
    made = evaluated(a_body(per="Workload", limit="5kg", thresholds=SUSPEND), answer)
    status = status_of(made)
    assert conditions(status)[EXPECTED] == ("False", "ExpectedOver")
    message = next(c["message"] for c in status["conditions"] if c["type"] == EXPECTED)
    assert message.startswith(
        "carbon budget monthly: Job/train 7.4kg of 5kg CO2e expected at its end (6.6kg to 8.1kg), "
        "by its own progress of 10 %; location-based, as of 2026-11-23"
    )
    tops = [(top["name"], top["expected"], top["expectedPercent"]) for top in status["topWorkloads"]]
    assert tops == [("train", "7.4kg", 148), ("small", "900g", 18)]


def test_what_is_expected_warns_and_neither_blocks_nor_suspends() -> None:
    expected = evaluated(a_body(per="Workload", thresholds=SUSPEND), answered(one("train", 0.8, 70)))
    without = evaluated(a_body(per="Workload", thresholds=SUSPEND), answered(one("train", 0.8, None)))
    assert expected.record == without.record
    assert expected.blocking is without.blocking is False
    for field in ("state", "action", "enforcement", "used", "percentUsed", "message"):
        assert status_of(expected)[field] == status_of(without)[field]


def test_a_run_that_has_exceeded_the_limit_or_stays_within_it_is_not_expected_over() -> None:
    made = evaluated(a_body(per="Workload"), answered(one("over", 6, 9), one("within", 1, 5), one("silent", 1, None)))
    assert made.expected == ()
    assert conditions(status_of(made))[EXPECTED] == ("True", "NoneExpectedOver")


def test_only_a_budget_per_workload_has_the_condition() -> None:
    body = written(a_body(per="Workload"), answered(one("train", 0.8, 7.4)))
    assert EXPECTED in conditions(body["status"])
    body["spec"]["per"] = "Selection"
    body["metadata"]["generation"] = 2
    assert EXPECTED not in conditions(status_of(evaluated(body, answered(one("train", 0.8, 7.4)))))


async def test_a_run_has_one_event_however_its_expectation_moves(bench: Bench) -> None:
    own = bench.add("own", per="Workload")
    bench.world.workloads = runs((0.1, 3), (0.1, 0.5))
    await bench.evaluate()
    assert {event["reason"] for event in bench.world.bodies} == {"RunExpectedOver"}
    assert bench.world.bodies[0]["message"].startswith("carbon budget own: Job/run-0 3g of 1g CO2e expected at its end")
    assert bench.run_events() == [("CarbonBudget", "own", "own"), ("Job", "run-0", "")]
    for expected in (0.9, 3, 2):
        bench.world.workloads = runs((0.2, expected), (0.1, 0.5))
        await bench.evaluate()
    assert bench.run_events() == []
    bench.world.workloads = runs((0.2, 3), (0.1, 1.5))
    await bench.evaluate()
    assert bench.run_events() == [("CarbonBudget", "own", "own"), ("Job", "run-1", "")]
    assert [top["expectedPercent"] for top in own["status"]["topWorkloads"]] == [300, 150]


async def test_a_restarted_controller_repeats_no_event_of_a_run_that_is_expected_over(bench: Bench) -> None:
    bench.add("own", per="Workload")
    bench.world.workloads = runs((0.1, 3))
    await bench.evaluate()
    assert len(bench.run_events()) == 2
    bench.loop.run_events = RunEvents(bench.client)
    await bench.evaluate()
    assert bench.run_events() == []


async def test_a_run_far_down_the_list_is_found(bench: Bench) -> None:
    own = bench.add("own", per="Workload")
    bench.world.workloads = runs(*[(0.5, None)] * 30, (0.1, 2))
    await bench.evaluate()
    assert {name for _, name, _ in bench.run_events()} == {"own", "run-30"}
    assert own["status"]["topWorkloads"][-1]["name"] == "run-30"


def test_a_server_with_a_real_ledger_tells_the_controller_of_a_pod_at_a_fifth_of_its_steps(tmp_path: Path) -> None:
    engine = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    make_tables(engine)
    booker = Booker(engine)
    for minute in range(10):
        book(booker, a_report(HOUR + 60 * minute, pods={"pod-1": 3_600_000_000}, labels={"carbonbudget.dev/run": "x"}))
    now = HOUR + 600
    for done in range(3):
        progress = ProgressPoint("epoch", done, 10, (HOUR + 300 * done) * 1000)
        assert SpanStore(engine, "default", 9).store([Post("team-a", "pod-1", "pod-1", progress=progress)], now) == [
            True
        ]
    settings = Settings(carbon=CarbonSettings(zone="WORLD", pue=1.0))
    answers = LedgerAnswers(BudgetUseQueries(ValuedReader(engine, settings)), settings)
    body = a_body(per="Workload", limit="10g", period="Day")
    prepared = prepare_budget(stored(body), now, namespaces())
    asked = period_queries(prepared, 0, now)
    found = answers.queries.budgets(asked)
    answers.workloads.add(asked, found, now)
    own = period_answers(prepared, asked, {answer.id: answer for answer in found}, answers.queries.data_through())
    made = evaluate_budget(prepared, own, None, "", now, EnforcementTerms(6 * 3600))
    merge(body, {"status": made.status})
    (top,) = body["status"]["topWorkloads"]
    assert (top["name"], top["state"]) == ("pod-1", "WithinBudget")
    assert 200 < top["expectedPercent"] < 300  # ten minutes of 60 W are 4.9 g, and four times as long are left
    assert [run.key for run in made.expected] == [("team-a", "Pod", "pod-1")]
    assert conditions(body["status"])[EXPECTED] == ("False", "ExpectedOver")
