"""What a workload is expected to emit goes by its own pods' progress, costs little, and harms no answer."""

from __future__ import annotations

from decimal import Decimal

import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.pod_prediction import PodPredictions, PodRest
from carbonbudget_operator.answers.workload_prediction import WorkloadPredictions
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, BudgetQuery, WorkloadUse
from carbonbudget_operator.intensity_settings import IntensitySettings, StaticSourceSettings
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.span_store import Post, ProgressPoint, SpanStore
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

LABELS = {"carbonbudget.dev/run": "exp-42"}
NOW = HOUR + 600
DAY = 86_400
FIGURES = {"WORLD": Decimal(500)}
STATED = StaticSourceSettings(figures=FIGURES, basis="lifecycle", source="a contract", year=2025)


class Counted(PodPredictions):
    """Counts what it is asked for, and can fail."""

    asked = 0
    failing = False

    def rest(self, uid: str, unit: str, now: int) -> PodRest | None:
        self.asked += 1
        if self.failing:
            raise ArithmeticError("a defect")
        return super().rest(uid, unit, now)


class World:
    """Ten minutes of pods of 5 W each in team-a, and the answers about them."""

    def __init__(self, engine: sa.Engine, *pods: str, labels: dict[str, str] = LABELS) -> None:
        uses, starts = dict.fromkeys(pods, 300_000_000), range(HOUR, HOUR + 600, 60)
        book(Booker(engine), *(a_report(at, pods=uses, idle_uj=0, system_uj=0, labels=labels) for at in starts))
        carbon = CarbonSettings(zone="WORLD", pue=1.0, intensity=IntensitySettings(sources=[STATED]))
        self.reader = ValuedReader(engine, Settings(carbon=carbon))
        self.queries, self.counted = BudgetUseQueries(self.reader), Counted(self.reader)
        self.seconds = 0.0
        self.predictions = WorkloadPredictions(self.reader, self.counted, self._clock)
        self.step = 0.0

    def _clock(self) -> float:
        self.seconds += self.step
        return self.seconds

    def tell(self, pod: str, total: int, done: int = 2) -> None:
        """It has done so many steps of five minutes."""
        for number in range(done + 1):
            at_ms = (NOW - 300 * (done - number)) * 1000
            post = Post("team-a", pod, pod, progress=ProgressPoint("epoch", number, total, at_ms))
            assert SpanStore(self.reader.engine, "default", 100).store([post], NOW) == [True]

    def answers(self, *queries: BudgetQuery, now: int = NOW) -> list[BudgetAnswer]:
        found = self.queries.budgets(queries)
        self.predictions.add(queries, found, now)
        return found

    def uses(self, now: int = NOW, **more: object) -> dict[str, WorkloadUse]:
        return {use.workload: use for use in self.answers(a_query(**more), now=now)[0].workloads}


def a_query(**more: object) -> BudgetQuery:
    given = {"id": "q", "namespaces": ["team-a"], "start": HOUR - DAY, "end": HOUR + DAY, "workloads": 10}
    return BudgetQuery.model_validate(given | more)


def test_two_steps_of_ten_are_a_fifth_of_what_is_expected(engine: sa.Engine) -> None:
    world = World(engine, "pod-1", "pod-2")
    world.tell("pod-1", 10)
    uses = world.uses()
    use, other = uses["Pod/pod-1"], uses["Pod/pod-2"]
    assert use.progress_percent == 20
    assert use.expected_ug is not None
    assert use.used_ug > 400_000  # 3 kJ at 500 g/kWh
    assert abs(use.expected_ug - 5 * use.used_ug) < use.used_ug // 10
    assert use.expected_low_ug is not None
    assert use.expected_high_ug is not None
    assert use.used_ug < use.expected_low_ug <= use.expected_ug <= use.expected_high_ug
    assert (other.expected_ug, other.progress_percent) == (None, None)


def test_nothing_is_expected_before_a_tenth_of_the_run_and_after_its_last_step(engine: sa.Engine) -> None:
    world = World(engine, "pod-1", "pod-2", "pod-3")
    world.tell("pod-1", 21)
    world.tell("pod-2", 20)
    world.tell("pod-3", 2)
    assert [name for name, use in sorted(world.uses().items()) if use.expected_ug is not None] == ["Pod/pod-2"]


def test_of_a_period_that_ends_earlier_only_what_comes_until_then_is_expected(engine: sa.Engine) -> None:
    world = World(engine, "pod-1")
    world.tell("pod-1", 100)
    world.tell("pod-1", 10)
    all_, until = world.uses()["Pod/pod-1"], world.uses(end=NOW + 600)["Pod/pod-1"]
    assert all_.expected_ug is not None
    assert until.expected_ug is not None
    assert all_.used_ug == until.used_ug
    assert abs((until.expected_ug - until.used_ug) * 4 - (all_.expected_ug - all_.used_ug)) <= 8


def test_a_budget_that_counts_something_else_expects_as_much_of_it_as_so_far(engine: sa.Engine) -> None:
    world = World(engine, "pod-1")
    world.tell("pod-1", 10)
    plain, part = world.uses()["Pod/pod-1"], world.uses(include=["Dynamic", "Embodied"])["Pod/pod-1"]
    assert plain.location_ug is None
    assert part.location_ug == plain.used_ug != part.used_ug
    assert plain.expected_ug is not None
    assert part.expected_ug is not None
    assert part.expected_ug == part.used_ug + (plain.expected_ug - plain.used_ug) * part.used_ug // plain.used_ug


def test_a_pod_that_is_gone_has_no_expectation(engine: sa.Engine) -> None:
    world = World(engine, "pod-1")
    world.tell("pod-1", 10)
    assert world.uses()["Pod/pod-1"].expected_ug is not None
    assert world.uses(now=NOW + 1800)["Pod/pod-1"].expected_ug is None


def test_without_a_pod_that_tells_its_progress_nothing_is_predicted(engine: sa.Engine) -> None:
    world = World(engine, "pod-1", labels={})
    assert world.uses()["Pod/pod-1"].used_ug
    assert world.counted.asked == 0


def test_a_prediction_is_made_once_in_five_minutes(engine: sa.Engine) -> None:
    world = World(engine, "pod-1")
    world.tell("pod-1", 10)
    first = [world.uses(now=NOW + at)["Pod/pod-1"].expected_ug for at in (0, 60, 299)]
    assert world.counted.asked == 1
    assert len(set(first)) == 1
    world.uses(now=NOW + 300)
    assert world.counted.asked == 2


def test_no_time_left_delays_predictions_and_every_budget_has_its_turn(engine: sa.Engine) -> None:
    pods = [f"pod-{n}" for n in range(4)]
    world = World(engine, *pods)
    for pod in pods:
        world.tell(pod, 10)
    world.step = 0.3  # four looks at the clock are more than a second
    queries = [a_query(id=str(n)) for n in range(3)]
    asked = []
    for _ in range(6):
        world.answers(*queries)
        asked.append(world.counted.asked)
    assert 0 < asked[0] < 4
    assert asked[-1] == 4
    assert world.uses()["Pod/pod-3"].expected_ug is not None


def test_a_prediction_that_fails_leaves_the_answer_as_it_is(engine: sa.Engine) -> None:
    world = World(engine, "pod-1")
    world.tell("pod-1", 10)
    world.counted.failing = True
    use = world.uses()["Pod/pod-1"]
    assert (use.used_ug > 0, use.expected_ug) == (True, None)


def test_a_huge_claim_changes_no_other_workload(engine: sa.Engine) -> None:
    world = World(engine, "pod-1", "pod-2")
    world.tell("pod-1", 2 * 10, 2)
    before = world.uses()["Pod/pod-2"]
    world.tell("pod-2", 2**40, 2)  # far below a tenth
    after = world.uses(now=NOW + 301)
    assert after["Pod/pod-2"] == before
    assert after["Pod/pod-1"].expected_ug is not None


def test_a_pod_of_which_too_little_was_known_is_asked_about_again_soon(engine: sa.Engine) -> None:
    world = World(engine, "pod-1")
    post = Post("team-a", "pod-1", "pod-1", progress=ProgressPoint("epoch", 1, 10, NOW * 1000))
    assert SpanStore(engine, "default", 100).store([post], NOW) == [True]
    assert world.uses()["Pod/pod-1"].expected_ug is None  # one instant is no step
    world.tell("pod-1", 10)
    assert world.uses(now=NOW + 60)["Pod/pod-1"].expected_ug is not None
