"""Runs by label: over Jobs, pods, nodes and restarts, and with the rest of the namespace the whole of it."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_core.node_report import PodController
from carbonbudget_operator.answers.runs_by_label import RunsQuery, RunSummary, run_hours, run_summaries, runs_version
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.stored_units import StoredUnits
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION, RUN, STAGE
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.2))
HOURS = 3600
WINDOW = HOUR, HOUR + 100 * HOURS
EXP_1 = {RUN: "exp-1", MODEL: "chat", MODEL_VERSION: "1.3", STAGE: "training"}


def pod(
    engine: sa.Engine, hour: int, uid: str, labels: dict[str, str], node: str = "n1", namespace: str = "team-a",
    uj: int = 10**9, job: str = "",
) -> None:  # fmt: skip
    """One window of one pod."""
    report = a_report(HOUR + hour * HOURS, node, {uid: uj}, labels=labels, namespace=namespace)
    if job:
        report = replace(
            report, pods=tuple(replace(one, controller=PodController("Job", job, job)) for one in report.pods)
        )
    book(Booker(engine), report)


def fill(engine: sa.Engine) -> None:
    pod(engine, 0, "p1", EXP_1, job="first")
    pod(engine, 0, "p2", EXP_1, "n2", job="first")
    pod(engine, 1, "p1", EXP_1, job="first")
    pod(engine, 5, "p3", EXP_1, job="again")  # failed, and started once more as another Job
    pod(engine, 6, "p4", {RUN: "exp-1"}, "n2", "team-b")  # another team's run of the same name
    pod(engine, 30, "p5", EXP_1 | {RUN: "exp-2", STAGE: "evaluation"})
    pod(engine, 31, "p5", EXP_1 | {RUN: "exp-2", STAGE: "training", MODEL: "chat-2"})
    pod(engine, 2, "p6", {MODEL: "served"}, "n2")
    pod(engine, 3, "p7", {"app": "web"}, "n2")


def ask(reader: ValuedReader, **given: object) -> dict[tuple[str, str], RunSummary]:
    query = replace(RunsQuery(WINDOW, None), **given)  # type: ignore[arg-type]
    return {(run.namespace, run.run): run for run in run_summaries(reader, query).runs}


def stored(engine: sa.Engine) -> ValuedReader:
    """A reader of hours and days that are all stored."""
    upkeep = UpkeepSteps(ValuedReader(engine, SETTINGS), 35, 25)
    while upkeep.step(HOUR + 200 * HOURS) is not None:
        pass
    return ValuedReader(engine, SETTINGS)


def test_a_run_is_all_pods_of_its_jobs_and_restarts_on_all_nodes(engine: sa.Engine) -> None:
    fill(engine)
    found = ask(ValuedReader(engine, SETTINGS))
    assert set(found) == {("team-a", "exp-1"), ("team-a", "exp-2"), ("team-b", "exp-1")}
    run = found["team-a", "exp-1"]
    assert (run.pods, run.start, run.end) == (3, HOUR, HOUR + 6 * HOURS)
    assert (run.models, run.versions, run.stages) == ({"chat"}, {"1.3"}, {"training"})
    assert 4 * 10**9 < run.amounts.energy_uj < 4 * 10**9 + 10_000  # their own and a share of idle and overhead
    changed = found["team-a", "exp-2"]
    assert (changed.pods, changed.models, changed.stages) == (1, {"chat", "chat-2"}, {"training", "evaluation"})


def test_stored_hours_and_facts_give_the_same_runs_and_hours(engine: sa.Engine) -> None:
    fill(engine)
    fresh = ValuedReader(engine, SETTINGS)
    fresh.derived = StoredUnits(engine, "nothing is stored under this")
    kept = stored(engine)
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM valued_row")) > 0
    for given_ in (
        {}, {"namespaces": frozenset({"team-b"})}, {"unlabelled": True}, {"labels": ((MODEL, "chat"),)},
        {"window": (HOUR + HOURS, HOUR + 5 * HOURS)}, {"window": (HOUR + 90 * HOURS, HOUR + 91 * HOURS)},
    ):  # fmt: skip
        assert ask(fresh, **given_) == ask(kept, **given_)
    one = RunsQuery(WINDOW, frozenset({"team-a"}), ((RUN, "exp-1"),))
    for reader in (fresh, kept):
        _, hours = run_hours(reader, one)
        assert [hour.start for hour in hours] == [HOUR, HOUR + HOURS, HOUR + 5 * HOURS]
        assert sum(hour.amounts.location_ug for hour in hours) == ask(reader)["team-a", "exp-1"].amounts.location_ug


def test_a_past_window_counts_the_pods_that_ran_in_it(engine: sa.Engine) -> None:
    fill(engine)
    reader = ValuedReader(engine, SETTINGS)
    assert ask(reader, window=(HOUR, HOUR + HOURS))["team-a", "exp-1"].pods == 2
    assert ask(reader, window=(HOUR + HOURS, HOUR + 2 * HOURS))["team-a", "exp-1"].pods == 1
    assert ask(reader, window=(HOUR + 2 * HOURS, HOUR + 4 * HOURS)) == {}


def test_pods_that_are_not_stored_any_more_are_not_counted_as_none(engine: sa.Engine) -> None:
    fill(engine)
    reader = stored(engine)
    with engine.begin() as connection:
        for table in ("pod_energy", "pod_hour", "pod"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    run = ask(reader)["team-a", "exp-1"]
    assert run.pods is None
    assert run.end == HOUR + 6 * HOURS


def test_a_run_whose_first_hours_are_sealed_is_not_said_to_have_had_the_pods_of_the_others_alone(
    engine: sa.Engine,
) -> None:
    fill(engine)
    reader, query = stored(engine), RunsQuery(WINDOW, None)
    before = ask(reader)["team-a", "exp-1"].pods, runs_version(reader, query, "json")
    with engine.begin() as connection:  # the first two hours, as sealing leaves them
        connection.execute(
            sa.insert(schema.sealed_hour),
            [{"cluster": "default", "hour": HOUR + at, "derivation_id": 1, "sealed_at": 1} for at in (0, HOURS)],
        )
        for table in (schema.pod_energy, schema.pod_fact):
            connection.execute(sa.delete(table).where(table.c.start < HOUR + 2 * HOURS))
        connection.execute(sa.delete(schema.pod).where(schema.pod.c.last_hour < HOUR + 2 * HOURS))
    found = ask(reader)
    assert (before[0], found["team-a", "exp-1"].pods, found["team-a", "exp-2"].pods) == (3, None, 1)
    assert runs_version(reader, query, "json") != before[1]


def test_a_run_is_final_when_every_node_has_reported_past_its_end(engine: sa.Engine) -> None:
    pod(engine, 0, "p1", EXP_1)
    reader = ValuedReader(engine, SETTINGS)
    query = RunsQuery(WINDOW, None)

    def state() -> str:
        found = run_summaries(reader, query)
        return found.runs[0].state(found.data_through)

    assert state() == "provisional"
    pod(engine, 2, "other", {"app": "web"})
    assert state() == "final"


def test_the_version_changes_with_the_facts_the_question_and_whom_it_is_about(engine: sa.Engine) -> None:
    fill(engine)
    reader = ValuedReader(engine, SETTINGS)
    query = RunsQuery(WINDOW, None)
    others = [
        replace(query, namespaces=frozenset({"team-a"})), replace(query, limit=2), replace(query, unlabelled=True),
        replace(query, labels=((MODEL, "chat"),)), replace(query, after=("a", "b", "")),
    ]  # fmt: skip
    versions = {runs_version(reader, one, "json") for one in (query, *others)} | {runs_version(reader, query, "csv")}
    assert len(versions) == 7
    before = runs_version(reader, query, "json")
    assert before == runs_version(reader, query, "json")
    pod(engine, 7, "p9", EXP_1)
    assert runs_version(reader, query, "json") != before


pods = st.lists(
    st.tuples(
        st.integers(0, 30), st.sampled_from(("p1", "p2", "p3", "p4")), st.sampled_from((None, "r1", "r2", "")),
        st.sampled_from((None, "m1", "m2")), st.sampled_from(("team-a", "team-b")), st.integers(0, 10**12),
    ),
    max_size=8,
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(pods, st.integers(1, 3))
def test_runs_and_the_pods_without_one_add_up_to_the_namespaces(
    many: list[tuple[int, str, str | None, str | None, str, int]], limit: int
) -> None:
    """Conservation: no joule and no microgram is in two runs or in none, on whichever page it is."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    schema.metadata.create_all(engine)
    for number, (hour, uid, run, model, namespace, uj) in enumerate(many):
        labels = {key: value for key, value in ((RUN, run), (MODEL, model)) if value is not None}
        pod(engine, hour, f"{uid}-{namespace}", labels, f"n{number}", namespace, uj)
    reader = ValuedReader(engine, SETTINGS)
    rows = [row for row in reader.rows(*WINDOW) if not row.special]
    query = RunsQuery(WINDOW, None, unlabelled=True, limit=limit)
    seen: list[RunSummary] = []
    while True:
        found = run_summaries(reader, query)
        seen += found.runs
        if not found.more:
            break
        last = found.runs[-1]
        query = replace(query, after=(last.namespace, last.run, "" if last.run else next(iter(last.models), "")))
    assert sum(run.amounts.energy_uj for run in seen) == sum(sum(row.figures[0:3]) for row in rows)
    assert sum(run.amounts.location_ug for run in seen) == sum(sum(row.figures[4:7]) for row in rows)
    assert sum(run.amounts.embodied_ug for run in seen) == sum(row.figures[10] for row in rows)
    assert found.total.amounts.energy_uj == sum(run.amounts.energy_uj for run in seen)
    assert len({(run.namespace, run.run, *sorted(run.models if not run.run else ())) for run in seen}) == len(seen)
