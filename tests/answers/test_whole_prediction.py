"""A prediction is of the whole: the same with any number of equal steps done, however the steps are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers import pod_figures
from carbonbudget_operator.answers.pod_prediction import PodPredictions
from carbonbudget_operator.intensity_settings import IntensitySettings, StaticSourceSettings
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.span_store import Post, ProgressPoint, SpanStore
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.spans.span_bodies import PredictionBody
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

MINUTE_UJ = 300_000_000  # 5 W
STATED = StaticSourceSettings(figures={"WORLD": Decimal(500)}, basis="lifecycle", source="a contract", year=2025)
FIRST = HOUR + 120  # when the first step begins


class Training:
    """One pod of 5 W without a run's label, whose windows and steps come as time passes."""

    def __init__(self, engine: sa.Engine, ahead_s: int = 0) -> None:
        carbon = CarbonSettings(zone="WORLD", pue=1.0, intensity=IntensitySettings(sources=[STATED]))
        self.reader = ValuedReader(engine, Settings(carbon=carbon))
        self.predictions = PodPredictions(self.reader)
        self.booker, self.store = Booker(engine), SpanStore(engine, "default", 10**6)
        self.booker.tracked.follow(["pod-1"])
        self.through = HOUR - ahead_s

    def report(self, until: int) -> None:
        """Its windows that are over then."""
        starts = range(self.through, until // 60 * 60, 60)
        if starts:
            pods = {"pod-1": MINUTE_UJ}
            book(self.booker, *(a_report(at, pods=pods, idle_uj=0, system_uj=0, labels={}) for at in starts))
            self.through = starts[-1] + 60

    def post(self, now: int, spans: Sequence[Span] = (), point: ProgressPoint | None = None) -> None:
        post = Post("team-a", "pod-1", "pod-1", spans=spans, progress=point)
        assert self.store.store([post], now) == [True]

    def predicted(self, now: int, unit: str = "epoch") -> PredictionBody | None:
        return self.predictions.predict("pod-1", unit, now)


def spans_of(first: float, step_s: float, pause_s: float, numbers: Iterator[int] | range) -> list[Span]:
    starts = [(number, first + number * (step_s + pause_s)) for number in numbers]
    return [Span(f"e{n}", "epoch", n, int(at * 1000), int((at + step_s) * 1000)) for n, at in starts]


@pytest.fixture(autouse=True)
def current_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours pass within a second here, while the valued hour that is open is used again for a minute."""
    monkeypatch.setattr(pod_figures, "_OPEN_HOUR_SECONDS", -1.0)


@pytest.mark.parametrize(("step_s", "pause_s", "total"), [(60, 0, 400), (20, 0, 900), (150, 0, 100), (60, 30, 200)])
def test_the_prediction_is_the_same_after_any_number_of_equal_steps(
    engine: sa.Engine, step_s: int, pause_s: int, total: int
) -> None:
    """Also where they are shorter or longer than a window, where a pause is between them, and at the last one."""
    training, before = Training(engine), 0
    each_s = step_s + pause_s
    truth_uj = MINUTE_UJ * (total * each_s) // 60
    for done in (5, 49, 50, 51, 52, total // 2, total - 1, total):
        at = FIRST + done * each_s - pause_s
        training.report(at)
        training.post(at, spans_of(FIRST, step_s, pause_s, range(before, done)))
        training.post(at, point=ProgressPoint("epoch", done, total, at * 1000))
        before = done
        found = training.predicted(at)
        assert found is not None, done
        assert abs(found.energy_uj - truth_uj) <= truth_uj // 1000 + MINUTE_UJ * pause_s // 60, done
        assert abs(found.emissions_ug - truth_uj * 500_000_000 // 3_600_000_000_000) <= found.emissions_ug // 100, done
        assert (found.covers, found.run) == ("pod", None)


@pytest.mark.parametrize("every_s", [1, 10, 70])
def test_posts_that_jump_over_steps_predict_what_the_steps_need(engine: sa.Engine, every_s: int) -> None:
    """5 steps a second, posted each second, as a client does each 10 s, and more seldom than there are windows."""
    training, total = Training(engine, ahead_s=0), 5 * 3600
    truth_uj = MINUTE_UJ * 60 + 2 * MINUTE_UJ  # with the two minutes before the first step: no span says when it began
    for at in range(HOUR + 120 + every_s, HOUR + 120 + 900, every_s):
        training.post(at, point=ProgressPoint("step", 5 * (at - HOUR - 120), total, at * 1000))
        if at % 240 < every_s:
            training.report(at - 90)  # windows come late
            found = training.predicted(at, "step")
            if at > HOUR + 120 + 480:
                assert found is not None, at
                assert abs(found.energy_uj - truth_uj) <= truth_uj // 500, at
    assert training.through > HOUR + 600


def test_a_count_that_falls_after_a_restart_goes_on_from_there(engine: sa.Engine) -> None:
    """500 steps of 1,000, then again from 400: 100 are done twice, and the whole has both."""
    training = Training(engine)
    training.report(HOUR + 1200)
    for number, done in enumerate([*range(0, 501, 50), *range(410, 600, 40)]):
        training.post(HOUR + 1200, point=ProgressPoint("step", done, 1000, (HOUR + 60 * number) * 1000))
    found = training.predicted(HOUR + 1200, "step")
    assert found is not None
    used, left = 20, (1000 - 570) / 40 - 5  # minutes: 5 of those that are left have passed since the newest post
    assert abs(found.energy_uj / MINUTE_UJ - (used + left)) < 0.1


def test_a_total_that_changes_is_the_new_one_of_all_steps(engine: sa.Engine) -> None:
    training = Training(engine)
    training.report(HOUR + 600)
    for number in range(11):
        total = 100 if number < 10 else 40
        training.post(HOUR + 600, point=ProgressPoint("step", 2 * number, total, (HOUR + 60 * number) * 1000))
    found = training.predicted(HOUR + 600, "step")
    assert found is not None
    assert abs(found.energy_uj / MINUTE_UJ - 20) < 0.1


def test_a_second_training_in_the_same_pod_has_none_of_the_first_one(engine: sa.Engine) -> None:
    """As in a notebook: ten epochs, half an hour of nothing, and ten epochs again, of which four are done."""
    training = Training(engine)
    first, second = spans_of(FIRST, 60, 0, range(10)), spans_of(FIRST + 2400, 60, 0, range(4))
    again = [Span(f"again {span.id}", "epoch", span.step, span.start_ms, span.end_ms) for span in second]
    training.report(FIRST + 2640)
    training.post(FIRST + 600, first, ProgressPoint("epoch", 10, 10, (FIRST + 600) * 1000))
    training.post(FIRST + 2640, again, ProgressPoint("epoch", 4, 10, (FIRST + 2640) * 1000))
    found = training.predicted(FIRST + 2640)
    assert found is not None
    assert abs(found.energy_uj - 10 * MINUTE_UJ) < MINUTE_UJ // 100


def test_a_training_that_is_resumed_in_its_pod_keeps_what_it_used_before(engine: sa.Engine) -> None:
    """Six epochs, a crash, and the last two of them again: of ten, seven are done with nine minutes."""
    training = Training(engine)
    resumed = [Span(f"r{n}", "epoch", n, (FIRST + 360 + 60 * k) * 1000, (FIRST + 420 + 60 * k) * 1000)
               for k, n in enumerate((4, 5, 6))]  # fmt: skip
    training.report(FIRST + 540)
    training.post(FIRST + 540, [*spans_of(FIRST, 60, 0, range(6)), *resumed])
    training.post(FIRST + 540, point=ProgressPoint("epoch", 7, 10, (FIRST + 540) * 1000))
    found = training.predicted(FIRST + 540)
    assert found is not None
    assert abs(found.energy_uj - 12 * MINUTE_UJ) < MINUTE_UJ // 100


def test_a_step_of_which_half_is_measured_is_not_taken_for_a_cheaper_one(engine: sa.Engine) -> None:
    training = Training(engine)
    training.report(FIRST + 10 * 150 - 60)
    training.post(FIRST + 1500, spans_of(FIRST, 150, 0, range(10)))
    training.post(FIRST + 1500, point=ProgressPoint("epoch", 10, 20, (FIRST + 1500) * 1000))
    found = training.predicted(FIRST + 1500)
    assert found is not None
    assert found.low_uj == found.high_uj == found.energy_uj == 50 * MINUTE_UJ


def test_what_was_used_before_is_remembered_and_added_to_as_hours_pass(engine: sa.Engine) -> None:
    training, total = Training(engine), 600
    found = []
    for done in range(30, total, 90):
        now = FIRST + 60 * done
        training.report(now)
        training.post(now, spans_of(FIRST, 60, 0, range(max(0, done - 90), done)))
        training.post(now, point=ProgressPoint("epoch", done, total, now * 1000))
        found.append((training.predicted(now), PodPredictions(training.reader).predict("pod-1", "epoch", now)))
    assert len(found) == 7
    assert all(one is not None and one == new for one, new in found)
    assert {one.energy_uj for one, _ in found if one is not None} == {total * MINUTE_UJ}
