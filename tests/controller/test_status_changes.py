"""Which changes of a status are written: those that a person would see, and moved figures within ten minutes."""

from __future__ import annotations

from tests.controller.evaluations import (
    GRAM,
    SUSPEND,
    an_answer,
    evaluated,
    status_of,
    used_by,
    written,
)
from tests.controller.objects import NOW, a_body

from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, WorkloadUse
from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.controller.status_json import is_visible_change


def test_nothing_that_a_person_sees_changed_means_nothing_to_write() -> None:
    body = written(a_body(), an_answer(1_050_000_000))
    assert not is_visible_change(body, status_of(evaluated(body, an_answer(1_050_000_100), NOW + 60)))


def test_a_used_that_reads_differently_is_written() -> None:
    body = written(a_body(), an_answer(1_000_000_000))
    status = status_of(evaluated(body, an_answer(1_100_000_000), NOW + 60))
    assert is_visible_change(body, status)
    assert status["used"] == "1.1kg"


def test_who_is_on_top_is_written_and_their_grams_alone_are_not() -> None:
    def by(name: str, used_ug: int) -> BudgetAnswer:
        use = WorkloadUse(namespace="team-a", workload=f"Job/{name}", used_ug=used_ug, energy_uj=1)
        return an_answer(1_050_000_000, workloads=[use])

    body = written(a_body(), by("train", 500 * GRAM))
    assert not is_visible_change(body, status_of(evaluated(body, by("train", 501 * GRAM))))
    assert is_visible_change(body, status_of(evaluated(body, by("train", 551 * GRAM))))
    assert is_visible_change(body, status_of(evaluated(body, by("other", 500 * GRAM))))


def test_beyond_the_ten_it_is_written_who_is_over_and_not_by_how_much() -> None:
    body = a_body(per="Workload", thresholds=SUSPEND)
    after = written(body, used_by(*[9000] * 10, 6000, 6000))
    assert not is_visible_change(after, status_of(evaluated(after, used_by(*[9000] * 10, 6400, 6000))))
    assert is_visible_change(after, status_of(evaluated(after, used_by(*[9000] * 10, 6400, 6000, 5000))))
    assert is_visible_change(after, status_of(evaluated(after, used_by(9200, *[9000] * 9, 6400, 6000))))
    CarbonBudget.model_validate(written(body, used_by(*[9000] * 100)))


def test_a_figure_that_moves_is_written_within_ten_minutes_and_one_that_does_not_is_not() -> None:
    """By two digits of a month's budget it would be hours."""
    body = written(a_body(per="Workload"), used_by(1050, 1))  # it has no forecast, which moves by itself
    for minute in range(1, 30):
        due = is_visible_change(body, status_of(evaluated(body, used_by(1051, 2), NOW + 60 * minute)))
        assert due or minute < 10
        assert not due or minute >= 5
        assert not is_visible_change(body, status_of(evaluated(body, used_by(1050, 1), NOW + 60 * minute)))


def test_moving_figures_of_many_budgets_are_not_written_in_the_same_minute() -> None:
    def due_at(uid: str) -> int:
        own = a_body(per="Workload")
        body = written(own | {"metadata": own["metadata"] | {"uid": uid}}, used_by(1050))
        status = {minute: status_of(evaluated(body, used_by(1051), NOW + 60 * minute)) for minute in range(1, 12)}
        return next(minute for minute, one in status.items() if is_visible_change(body, one))

    assert len({due_at(f"uid-{n}") for n in range(40)}) >= 4


def test_a_run_that_comes_over_its_limit_is_written_though_others_are_over_longer() -> None:
    body = written(a_body(per="Workload"), used_by(6000, 4990))
    assert is_visible_change(body, status_of(evaluated(body, used_by(6000, 5000), NOW + 60)))
