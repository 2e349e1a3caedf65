"""Final figures and workloads' annotations: what is asked, and what is written of the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.enforcement.worlds import HOUR, NOW, RUNS, a_budget, a_job, finished

from carbonbudget_operator.api.budget_query_bodies import RunAnswer
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.quantity import parse_mass
from carbonbudget_operator.budgets.verdict import Action, State, Threshold, Verdict, percent, verdict_on_run
from carbonbudget_operator.budgets.verdict import BudgetLimit as EvaluatedBudget
from carbonbudget_operator.enforcement.job_emissions import (
    LedgerProgress,
    Stage,
    figure_stage,
    is_beyond_reporting,
    is_figure_due,
    job_figures,
    jobs_to_annotate,
    last_hour_end,
    run_query,
)
from carbonbudget_operator.enforcement.suspension_actions import Announce, Suspend
from carbonbudget_operator.enforcement.suspension_patches import patch_of_suspension

ANSWER = RunAnswer(
    id="uid-train",
    pods=1,
    energy_uj=2_808_000_000_000,
    location_ug=312_000_000,
    market_ug=12_000_000,
    embodied_ug=5_000_000,
    gpu_ms=4 * 7_560_000,
    measured_percent=100,
)
DONE = a_job(status=finished(NOW, NOW - 7560))
HOUR_END = NOW - NOW % HOUR + HOUR  # 19:00:00; NOW is 18:53:20


def progress(data_through: int, now: int = 0, unchanged_since: int = 0) -> LedgerProgress:
    """All nodes have reported up to `data_through`; without more, that is new and the clock is at it."""
    return LedgerProgress(now or data_through, data_through, unchanged_since or now or data_through)


OVER = progress(HOUR_END)
BASIS = "; location-based, by reports up to 2026-11-23T19:00:00Z"


def test_a_finished_job_has_its_emissions_energy_and_time() -> None:
    patch, note = job_figures(DONE, ANSWER, [a_budget()], 0, OVER)
    assert note.message == f"train emitted 312g CO2e: 0.78 kWh, 2.1 h on 4 GPUs{BASIS}"
    assert patch == {
        "metadata": {
            "annotations": {
                "carbonbudget.dev/emissions": "312g",
                "carbonbudget.dev/energy": "0.78 kWh",
                "carbonbudget.dev/accounting": "LocationBased",
                "carbonbudget.dev/as-of": "2026-11-23T19:00:00Z",
                "carbonbudget.dev/budget": "team-a/monthly",
                "carbonbudget.dev/state": "Exceeded",
                "carbonbudget.dev/final": "true",
                "carbonbudget.dev/suspend-at": None,
                "carbonbudget.dev/targets": None,
            }
        }
    }


def test_under_a_market_based_budget_the_figure_is_market_based() -> None:
    patch, note = job_figures(DONE, ANSWER, [a_budget(spec={"accounting": "MarketBased"})], 0, OVER)
    assert note.message.startswith("train emitted 12g CO2e: ")
    assert "; market-based, by reports up to" in note.message
    assert patch["metadata"]["annotations"]["carbonbudget.dev/accounting"] == "MarketBased"  # type: ignore[index] # a patch


def test_without_a_budget_the_figure_is_the_locations_and_no_budget_is_named() -> None:
    patch, note = job_figures(DONE, ANSWER, [], 0, OVER)
    assert note.message.startswith("train emitted 312g CO2e: ")
    annotations = patch["metadata"]["annotations"]  # type: ignore[index] # a patch
    assert (annotations["carbonbudget.dev/budget"], annotations["carbonbudget.dev/state"]) == (None, None)


def test_what_is_modelled_is_said() -> None:
    _, note = job_figures(DONE, ANSWER.model_copy(update={"measured_percent": 40, "gpu_ms": 0}), [], 0, OVER)
    assert note.message == f"train emitted 312g CO2e: 0.78 kWh, 2.1 h (40 % measured, the rest modelled){BASIS}"


def test_a_run_that_was_suspended_in_between_has_gpu_hours_but_no_duration() -> None:
    resumed = {"carbonbudget.dev/resumed-at": "2026-11-24T10:00:00Z"}
    done = a_job(status=finished(NOW, NOW - 60), annotations=resumed)
    _, note = job_figures(done, ANSWER, [], 0, OVER)
    assert note.message == f"train emitted 312g CO2e: 0.78 kWh, 8.4 GPU hours{BASIS}"
    _, note = job_figures(done, ANSWER.model_copy(update={"gpu_ms": 1500}), [], 0, OVER)
    assert "1.5 GPU seconds" in note.message


def test_a_job_of_one_second_on_a_gpu_that_hardly_worked_divides_by_nothing() -> None:
    _, note = job_figures(a_job(status=finished(NOW, NOW)), ANSWER.model_copy(update={"gpu_ms": 0}), [], 0, OVER)
    assert note.message == f"train emitted 312g CO2e: 0.78 kWh{BASIS}"
    _, note = job_figures(a_job(status=finished(NOW, NOW - 60)), ANSWER.model_copy(update={"gpu_ms": 1}), [], 0, OVER)
    assert note.message.endswith(f", 60 s on 1 GPU{BASIS}")


def test_a_small_runs_energy_and_emissions_are_not_0() -> None:
    _, note = job_figures(DONE, ANSWER.model_copy(update={"energy_uj": 800_000, "location_ug": 60}), [], 0, OVER)
    assert note.message.startswith("train emitted 0.06mg CO2e: 0.8 J, ")


@pytest.mark.parametrize(
    ("name", "emitted_ug", "state"),
    [
        ("train", 1, "Warning"),
        ("small", 1, "WithinBudget"),
        ("fifth", 5 * 10**9, "Exceeded"),
        ("fifth", 1, "WithinBudget"),
    ],
)
def test_a_finished_run_has_its_own_state(name: str, emitted_ug: int, state: str) -> None:
    done = a_job(name, status=finished(NOW, NOW - 7560))
    answer = ANSWER.model_copy(update={"location_ug": emitted_ug})
    patch, _ = job_figures(done, answer, [a_budget(spec={"per": "Workload"}, status=RUNS)], 0, OVER)
    assert patch["metadata"]["annotations"]["carbonbudget.dev/state"] == state  # type: ignore[index] # a patch


def test_the_question_is_by_uid_over_whole_hours_from_the_creation_on() -> None:
    asked = run_query(DONE, 0)
    assert (asked.uid, asked.kind, asked.name, asked.namespace) == ("uid-train", "Job", "train", "team-a")
    assert asked.start <= DONE.created_at
    assert asked.end > DONE.finished_at
    assert (asked.start % HOUR, asked.end % HOUR) == (0, 0)


def test_a_job_older_than_the_stored_pods_has_a_partial_figure_and_the_event_says_why() -> None:
    kept_from = DONE.finished_at - HOUR
    assert run_query(DONE, kept_from).start == kept_from - kept_from % HOUR
    patch, note = job_figures(DONE, ANSWER, [], kept_from, OVER)
    assert patch["metadata"]["annotations"]["carbonbudget.dev/final"] == "partial"  # type: ignore[index] # a patch
    assert (
        "; only since 2026-11-23T17:53:20Z, because single pods of earlier hours are no longer stored" in note.message
    )
    assert run_query(DONE, NOW + 99 * HOUR).start < DONE.finished_at  # a question is never empty


def test_jobs_that_run_and_jobs_with_final_figures_are_not_annotated() -> None:
    told = a_job("told", status=finished(NOW, NOW - 60), annotations={"carbonbudget.dev/final": "true"})
    failed = a_job("failed", status=finished(NOW - 1, NOW - 60, kind="Failed"))
    assert jobs_to_annotate([a_job("running"), told, DONE, failed]) == [failed, DONE]


def test_a_job_without_data_is_waited_for_until_an_hour_after_its_last() -> None:
    assert not is_beyond_reporting(DONE, progress(HOUR_END + HOUR - 1))
    assert is_beyond_reporting(DONE, progress(HOUR_END + HOUR))


@pytest.mark.parametrize(
    ("finished_at", "end"),
    [(HOUR_END - 1, HOUR_END), (HOUR_END, HOUR_END + HOUR), (HOUR_END + 1, HOUR_END + HOUR)],
)
def test_a_jobs_last_hour_ends_after_its_finish_also_where_that_is_on_the_hour(finished_at: int, end: int) -> None:
    job = a_job(status=finished(finished_at, NOW - 60))
    assert (last_hour_end(job), run_query(job, 0).end) == (end, end)
    assert figure_stage(job, progress(end - 1)) == "provisional"
    assert figure_stage(job, progress(end)) == "final"


@pytest.mark.parametrize(
    ("now", "unchanged_since", "stage"),
    [
        (HOUR_END + HOUR - 1, NOW, "provisional"),
        (HOUR_END + HOUR, NOW, "incomplete"),
        (HOUR_END + 9 * HOUR, HOUR_END + 8 * HOUR + 1, "provisional"),
        (HOUR_END + 9 * HOUR, HOUR_END + 8 * HOUR, "incomplete"),
    ],
)
def test_a_figure_is_incomplete_an_hour_after_the_last_hour_if_no_report_arrived_in_that_time(
    now: int, unchanged_since: int, stage: Stage
) -> None:
    stopped = progress(HOUR_END - 1, now, unchanged_since)
    assert figure_stage(DONE, stopped) == stage
    assert is_beyond_reporting(DONE, stopped) is (stage == "incomplete")
    patch, note = job_figures(DONE, ANSWER, [], 0, stopped)
    final = patch["metadata"]["annotations"].get("carbonbudget.dev/final")  # type: ignore[index] # a patch
    assert final == (None if stage == "provisional" else "partial")
    assert ("missing" in note.message, "may change" in note.message) == (stage == "incomplete", stage == "provisional")


def test_a_job_after_which_all_reports_stopped_gets_its_figure_when_none_is_expected() -> None:
    """A cluster that scales to zero with its last Job: the data end a window before the Job does."""
    stopped = DONE.finished_at - 60
    patient = HOUR_END + HOUR
    assert not is_figure_due(DONE, False, progress(stopped, patient - 1, DONE.finished_at))
    for deleted in (False, True):
        assert is_figure_due(DONE, deleted, progress(stopped, patient, DONE.finished_at))


def test_figures_of_the_future_are_not_those_of_the_jobs_end() -> None:
    forged = a_job(status=finished(NOW, NOW - 7560), annotations={"carbonbudget.dev/as-of": "2999-01-01T00:00:00Z"})
    assert is_figure_due(forged, False, progress(NOW + 60))


@given(
    st.integers(-2 * HOUR, 2 * HOUR),
    st.lists(st.integers(0, HOUR), min_size=1, max_size=20),
    st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_a_job_is_written_twice_at_most_and_last_with_final_figures(
    finished_after: int, steps: list[int], restarts: list[bool]
) -> None:
    """Whenever the controller looks, and however the data progress: the annotations are all that is remembered."""
    finished_at = NOW + finished_after
    annotations: dict[str, str] = {}
    written: list[Stage] = []
    through = unchanged_since = now = NOW
    for step, restarted in zip(steps, restarts, strict=False):
        now += step
        if step % 2:  # else no report arrived
            through = unchanged_since = now
        if restarted:
            unchanged_since = now
        job = a_job(status=finished(finished_at, NOW - 3 * HOUR), annotations=dict(annotations))
        at = progress(through, now, unchanged_since)
        if jobs_to_annotate([job]) and is_figure_due(job, False, at):
            written.append(figure_stage(job, at))
            patch, _ = job_figures(job, ANSWER, [], 0, at)
            annotations |= {k: v for k, v in patch["metadata"]["annotations"].items() if v is not None}  # type: ignore[index] # a patch

    assert written.count("provisional") <= 1
    assert len(written) - written.count("provisional") <= 1
    assert "provisional" not in written[1:]
    if through >= HOUR * (finished_at // HOUR + 1):
        assert written[-1] != "provisional"


def test_the_event_of_a_suspension_says_why_and_until_when() -> None:
    own = a_budget("own", spec={"per": "Workload"}, status=RUNS)
    _, note = patch_of_suspension(Suspend(a_job("big"), own), NOW)
    assert note is not None
    assert note.message == (
        "big is suspended: it used 5.5kg CO2e, 110 % of what carbon budget team-a/own allows each workload "
        "(location-based, as of 2026-11-23T18:50:00Z). It is resumed once the budget's limit is raised"
    )
    ends = {"period": {"start": format_time(NOW - HOUR), "end": format_time(NOW + HOUR)}}
    _, note = patch_of_suspension(Suspend(a_job("big"), a_budget(status=ends)), NOW)
    assert note is not None
    assert note.message == (
        "big is suspended: carbon budget team-a/monthly has reached Suspend. "
        f"It is resumed at {format_time(NOW + HOUR)}, or once the budget's limit is raised"
    )
    _, note = patch_of_suspension(Announce(a_job("big"), a_budget(), NOW + 60), NOW)
    assert note is not None
    assert ": carbon budget team-a/monthly has reached Suspend. Write a checkpoint" in note.message


@given(
    st.integers(0, 3 * 10**6),
    st.lists(st.integers(1, 300), min_size=1, max_size=4, unique=True).map(sorted),
    st.sampled_from(["Warn", "Block", "Suspend"]),
    st.sampled_from(["0g", "1g", "1234.567mg"]),
)
def test_a_runs_state_by_its_per_cent_is_the_same_as_by_its_micrograms(
    used_ug: int, ats: list[int], action: str, limit: str
) -> None:
    """A status of the version before has no states, and the per cent is rounded down: no threshold lies between."""
    thresholds = [{"at": at, "action": action} for at in ats]
    enforced = a_budget(spec={"per": "Workload", "limit": limit, "thresholds": thresholds}, status=RUNS)
    limit_ug, period = parse_mass(limit), Period(0, 2 * NOW)
    limit = EvaluatedBudget(
        limit_ug, period, [Threshold(at, Action[action.upper()]) for at in ats], 1, per_workload=True
    )
    own = verdict_on_run(limit, Verdict(period, 1, used_ug, State.WITHIN, Action.NONE, 0), used_ug)
    found = enforced.state_of(percent(used_ug, limit_ug))
    assert (found.state, found.action) == (own.state, own.action)


def test_any_run_of_a_limit_of_0_is_over_a_threshold_above_100_as_in_the_evaluation() -> None:
    top = [{"kind": "Job", "name": "train", "emissions": "1mg", "percent": 100, "state": "Exceeded"}]
    suspends = [{"at": 120, "action": "Suspend"}]
    own = a_budget(spec={"per": "Workload", "limit": "0g", "thresholds": suspends}, status={"topWorkloads": top})
    assert own.over(a_job("train"))
    limited = a_budget(spec={"per": "Workload", "limit": "1g", "thresholds": suspends}, status={"topWorkloads": top})
    assert not limited.over(a_job("train"))
