"""A pod of a run is told what the whole run will have needed, at a cost that the posts of its pods do not decide."""

from __future__ import annotations

from decimal import Decimal

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers import pod_figures
from carbonbudget_operator.answers.energy_so_far import EnergySoFar, UsedSoFar
from carbonbudget_operator.answers.pod_prediction import PodPredictions, PodRest
from carbonbudget_operator.answers.progress_prediction import ProgressPredictions
from carbonbudget_operator.answers.workload_prediction import WorkloadPredictions
from carbonbudget_operator.intensity_settings import IntensitySettings, StaticSourceSettings
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.span_store import Post, ProgressPoint, SpanStore
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.spans.span_bodies import PredictionBody
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

WH_UJ = 3_600_000_000
STATED = StaticSourceSettings(figures={"WORLD": Decimal(500)}, basis="lifecycle", source="a contract", year=2025)
LABELS = {"carbonbudget.dev/run": "exp-42"}


@pytest.fixture(autouse=True)
def current_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_figures, "_OPEN_HOUR_SECONDS", -1.0)


class Counted(EnergySoFar):
    """Counts what it is asked for."""

    asked = 0

    def of_run(self, connection: sa.Connection, namespace: str, run: str, now: int) -> UsedSoFar:
        self.asked += 1
        return super().of_run(connection, namespace, run, now)


class CountedPods(PodPredictions):
    """Counts the rests that are made."""

    asked = 0

    def rest(self, uid: str, unit: str, now: int) -> PodRest | None:
        self.asked += 1
        return super().rest(uid, unit, now)


class World:
    """Pods of 1 Wh a minute, which is an epoch; each posts its progress."""

    def __init__(self, engine: sa.Engine, most_pods: int = 500) -> None:
        carbon = CarbonSettings(zone="WORLD", pue=1.0, intensity=IntensitySettings(sources=[STATED]))
        self.reader = ValuedReader(engine, Settings(carbon=carbon))
        self.so_far, self.pods = Counted(self.reader), CountedPods(self.reader)
        # Its clock stands still: a busy machine must not end the time that an answer has.
        self.workloads = WorkloadPredictions(self.reader, self.pods, lambda: 0.0)
        self.predictions = ProgressPredictions(self.reader, self.pods, self.workloads, self.so_far)
        self.booker, self.store = Booker(engine, max_tracked_pods=most_pods), SpanStore(engine, "default", 10**6)

    def report(self, first: int, minutes: int, *pods: str, namespace: str = "team-a", node: str = "node-1") -> None:
        starts = range(HOUR + 60 * first, HOUR + 60 * (first + minutes), 60)
        uses = dict.fromkeys(pods, WH_UJ)
        book(self.booker, *(a_report(at, node, uses, idle_uj=0, system_uj=0, labels=LABELS, namespace=namespace)
                            for at in starts))  # fmt: skip

    def tell(self, pod: str, first: int, done: int, total: int, namespace: str = "team-a") -> None:
        """It has done so many epochs of a minute, from the minute `first` on."""
        for number in range(done + 1):
            point = ProgressPoint("epoch", number, total, (HOUR + 60 * (first + number)) * 1000)
            assert self.store.store([Post(namespace, pod, pod, progress=point)], HOUR) == [True]

    def predicted(
        self, pod: str, minute: float, namespace: str = "team-a", done: int = 6, total: int = 10
    ) -> PredictionBody | None:
        now = HOUR + int(60 * minute)
        return self.predictions.predict(namespace, pod, ProgressPoint("epoch", done, total, now * 1000), now)


def test_four_pods_are_each_told_all_of_their_run(engine: sa.Engine) -> None:
    world, pods = World(engine), [f"pod-{n}" for n in range(4)]
    world.report(0, 6, *pods)
    for pod in pods:
        world.tell(pod, 0, 6, 10)
    found = [world.predicted(pod, 6) for pod in pods]
    assert found[0] is not None
    assert (found[0].energy_uj, found[0].covers, found[0].run) == (40 * WH_UJ, "run", "exp-42")
    assert abs(found[0].emissions_ug - 20_000_000) < 100  # 40 Wh at 500 g/kWh
    assert found == [found[0]] * 4


def test_a_run_that_is_resumed_in_another_pod_has_what_the_first_one_used(engine: sa.Engine) -> None:
    """Six epochs in the first pod, and the other four in a second one, of which two are done."""
    world = World(engine)
    world.report(0, 6, "pod-1")
    world.tell("pod-1", 0, 6, 10)
    world.report(55, 2, "pod-2")
    world.tell("pod-2", 55, 2, 4)
    found = world.predicted("pod-2", 57, done=2, total=4)
    assert found is not None
    assert found.energy_uj == 10 * WH_UJ


def test_a_pod_of_the_run_that_reports_no_progress_counts_with_what_it_used(engine: sa.Engine) -> None:
    world = World(engine)
    world.report(0, 6, "pod-1", "pod-2")
    world.tell("pod-1", 0, 6, 10)
    found = world.predicted("pod-1", 6)
    assert found is not None
    assert found.energy_uj == 16 * WH_UJ


def test_a_pod_whose_windows_are_not_stored_is_told_of_itself_alone(engine: sa.Engine) -> None:
    world = World(engine, most_pods=1)
    world.report(0, 6, "pod-1", "pod-2")
    for pod in ("pod-1", "pod-2"):
        world.tell(pod, 0, 6, 10)
    found = world.predicted("pod-2", 6)
    assert found is not None
    assert (found.covers, found.run, found.energy_uj) == ("pod", None, 10 * WH_UJ)


def test_the_same_run_in_another_namespace_is_another_run(engine: sa.Engine) -> None:
    world = World(engine)
    for namespace, pod, node in (("team-a", "pod-1", "node-1"), ("team-b", "pod-2", "node-2")):
        world.report(0, 6, pod, namespace=namespace, node=node)
        world.tell(pod, 0, 6, 10, namespace)
    found = world.predicted("pod-1", 6)
    assert found is not None
    assert found.energy_uj == 10 * WH_UJ
    assert world.predicted("pod-2", 6) is None  # of team-b: the token of team-a's pod names no pod of it


def test_other_runs_of_the_namespace_and_pods_without_one_are_no_part_of_it(engine: sa.Engine) -> None:
    """Also a run whose name differs by case alone, which SQLite's LIKE does not tell apart."""
    world = World(engine)
    for number, run in enumerate(("exp-42", "exp-4", "EXP-42", "")):
        labels, pod = ({"carbonbudget.dev/run": run} if run else {}), f"pod-{number}"
        for at in range(HOUR, HOUR + 360, 60):
            report = a_report(at, f"node-{number}", {pod: WH_UJ}, idle_uj=0, system_uj=0, labels=labels)
            book(world.booker, report)
        world.tell(pod, 0, 6, 10)
    found = world.predicted("pod-0", 6)
    assert found is not None
    assert found.energy_uj == 10 * WH_UJ
    assert abs(found.emissions_ug - 5_000_000) < 100  # 10 Wh at 500 g/kWh


def test_until_all_pods_have_done_a_step_nothing_is_predicted(engine: sa.Engine) -> None:
    world = World(engine)
    world.report(0, 6, "pod-1", "pod-2")
    world.tell("pod-1", 0, 6, 10)
    world.tell("pod-2", 0, 0, 10)
    assert world.predicted("pod-1", 6) is None


def test_at_the_last_step_of_all_pods_the_prediction_is_what_was_used(engine: sa.Engine) -> None:
    world = World(engine)
    world.report(0, 10, "pod-1", "pod-2")
    for pod in ("pod-1", "pod-2"):
        world.tell(pod, 0, 10, 10)
    found = world.predicted("pod-1", 10, done=10)
    assert found is not None
    assert (found.energy_uj, found.low_uj, found.high_uj) == (20 * WH_UJ, 20 * WH_UJ, 20 * WH_UJ)


def test_a_runs_answer_is_made_once_a_minute_for_all_of_its_pods(engine: sa.Engine) -> None:
    world, pods = World(engine), [f"pod-{n}" for n in range(4)]
    world.report(0, 6, *pods)
    for pod in pods:
        world.tell(pod, 0, 6, 500)
    for second in range(0, 60, 5):
        for pod in pods:
            assert world.predicted(pod, 6 + second / 60, total=500) is not None
    assert (world.so_far.asked, world.pods.asked) == (1, 4)
    assert world.predicted("pod-0", 7, total=500) is not None
    assert (world.so_far.asked, world.pods.asked) == (2, 4)


@pytest.mark.parametrize(("done", "total"), [(2, 10), (10, 10)])
def test_first_and_last_steps_have_a_new_answer_each_ten_seconds_at_most(
    engine: sa.Engine, done: int, total: int
) -> None:
    world = World(engine)
    world.report(0, 6, "pod-1")
    world.tell("pod-1", 0, 6, 500)
    for second in (0, 9, 10, 19, 20):
        world.predicted("pod-1", 6 + second / 60, done=done, total=total)
    assert world.so_far.asked == 3


def test_that_too_little_is_known_is_looked_for_each_ten_seconds_at_most(engine: sa.Engine) -> None:
    world = World(engine)
    world.report(0, 6, "pod-1")
    world.tell("pod-1", 0, 0, 10)
    for _ in range(5):
        assert world.predicted("pod-1", 6) is None
    assert world.pods.asked == 1


def test_the_first_steps_have_the_rest_of_their_own_progress(engine: sa.Engine) -> None:
    """Not the one of the first step, which holds for five minutes where budgets are asked about."""
    world = World(engine)
    for done in range(1, 5):
        world.report(done - 1, 1, "pod-1")
        world.tell("pod-1", 0, done, 10)
        found = world.predicted("pod-1", done, done=done)
        assert found is not None
        assert found.energy_uj == 10 * WH_UJ
        assert world.pods.asked == done
