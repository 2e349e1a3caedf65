"""Results of old spans outlive their windows; what is past its retention is deleted, and nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.pod_spans import PodSpansReader
from carbonbudget_operator.answers.span_folding import SpanFolding
from carbonbudget_operator.ledger import schema, span_tables
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.span_store import DAY, Post, ProgressPoint, SpanStore, read_spans
from carbonbudget_operator.ledger.tracked_pods import find_tracked
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.spans.span_bodies import SelfAnswer, SpanResult
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

LABELS = {"carbonbudget.dev/run": "exp-42"}
MS = HOUR * 1000
OVER = HOUR + 3600 + 1000


@pytest.fixture
def reader(engine: sa.Engine) -> ValuedReader:
    """A pod's hour and the minutes after it, with a span in a span."""
    windows = [(HOUR + 60 * minute, {"pod-1": 300 + minute, "pod-2": 7}) for minute in range(62)]
    book(Booker(engine), *(a_report(start, pods=pods, labels=LABELS) for start, pods in windows))
    spans = [Span("train", "train", None, MS, MS + 3_000_000), Span("epoch", "epoch", 1, MS + 90_000, MS + 1_234_567)]
    post = Post("team-a", "pod-1", "pod-1", None, spans, progress=ProgressPoint("epoch", 1, 2, MS))
    assert SpanStore(engine, "default", 100).store([post], OVER) == [True]
    return ValuedReader(engine, Settings(carbon=CarbonSettings(zone="WORLD", pue=1.0)))


def folding(reader: ValuedReader) -> SpanFolding:
    return SpanFolding(reader, window_days=7, result_days=90, pod_days=35)


def answer(reader: ValuedReader, now: int = OVER) -> SelfAnswer:
    found = PodSpansReader(reader).answer("pod-1", now, MS, MS + 3_600_000, frozenset())
    assert found is not None
    return found


def count(engine: sa.Engine, table: sa.Table) -> int:
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def test_a_folded_result_is_what_was_answered_and_outlives_windows_and_facts(
    reader: ValuedReader, engine: sa.Engine
) -> None:
    before = answer(reader)
    assert {span.state for span in before.spans} == {"final"}
    assert before.energy_uj == before.rest_uj + sum(span.energy_uj or 0 for span in before.spans)
    folding(reader).step(OVER + 5 * DAY)  # too early: windows are there
    assert (count(engine, span_tables.pod_window) > 0, answer(reader)) == (True, before)
    late = OVER + 8 * DAY
    folding(reader).step(late)
    assert count(engine, span_tables.pod_window) == 0
    assert answer(reader, late).spans == before.spans
    with engine.begin() as connection:  # as sealing does
        for table in (schema.pod_energy, schema.pod_fact):
            connection.execute(sa.delete(table))
    assert answer(reader, late).spans == before.spans
    folding(reader).step(late)  # a restart changes nothing
    assert answer(reader, late).spans == before.spans


def test_an_hour_is_divided_by_what_is_beside_it_whether_it_is_asked_for_alone_or_not(engine: sa.Engine) -> None:
    """All that the pod said of the second hour lies in its first minute: only with the hour before is that divided."""
    booker = Booker(engine)
    paces = [6_000_000, 600_000, 3_000_000, 60_000]  # microseconds of CPU time in the minutes around the full hour
    for minute, us in enumerate(paces, start=58):
        book(booker, a_report(HOUR + 60 * minute, pods={"pod-1": us * 100}, labels=LABELS))
    full_ms = MS + 3_600_000
    spans = [
        Span("a", "epoch", 1, full_ms - 90_000, full_ms - 30_000, (3_000_000, 6_550_000)),
        Span("b", "epoch", 2, full_ms - 30_000, full_ms + 20_000, (6_550_000, 9_000_000)),
    ]
    assert SpanStore(engine, "default", 100).store([Post("team-a", "pod-1", "pod-1", None, spans)], OVER) == [True]
    reader = PodSpansReader(ValuedReader(engine, Settings(carbon=CarbonSettings(zone="WORLD", pue=1.0))))

    def energies(from_ms: int, to_ms: int) -> dict[str, int | None]:
        found = reader.answer("pod-1", OVER, from_ms, to_ms, frozenset())
        assert found is not None
        return {span.id: span.energy_uj for span in found.spans}

    both = energies(MS, full_ms + 3_600_000)
    # The first epoch has 3.55 s of CPU time, the second one 0.05 s before the hour and 2.4 s after it; 100 uJ each us.
    assert both == {"a": pytest.approx(355_000_000, abs=100), "b": pytest.approx(245_000_000, abs=100)}
    assert energies(MS, full_ms - 31_000) == {"a": both["a"]}
    assert energies(full_ms, full_ms + 60_000) == {"b": both["b"]}


def test_spans_are_folded_before_their_pods_hours_are_sealed_however_short_that_is(
    reader: ValuedReader, engine: sa.Engine
) -> None:
    before, late = answer(reader), OVER + 2 * DAY
    SpanFolding(reader, window_days=7, result_days=90, pod_days=3).step(late)
    with engine.begin() as connection:  # as sealing does after three days
        for table in (schema.pod_energy, schema.pod_fact):
            connection.execute(sa.delete(table))
    assert answer(reader, late).spans == before.spans


def test_a_span_around_folded_ones_that_is_posted_at_the_end_leaves_them_as_they_are(
    reader: ValuedReader, engine: sa.Engine
) -> None:
    before, late = answer(reader), OVER + 8 * DAY
    folding(reader).step(late)
    around = Span("job", "job", None, MS - 1000, MS + 8 * DAY * 1000)
    SpanStore(engine, "default", 100).store([Post("team-a", "pod-1", spans=[around])], late)
    found = answer(reader, late)
    assert [span for span in found.spans if span.id != "job"] == before.spans
    (job,) = (span for span in found.spans if span.id == "job")
    assert job.resolution == "prorated"
    assert job.inclusive_energy_uj == sum(range(300, 362))
    assert found.energy_uj == found.rest_uj + sum(span.energy_uj or 0 for span in found.spans)


def many_spans(engine: sa.Engine, uid: str, number: int, namespace: str = "team-a") -> None:
    starts = [MS + 2_000 * n for n in range(number)]
    spans = [Span(f"s{n}", "x", n, at, at + 1_999, (n * 7919 % 10**6, 10**12 - n)) for n, at in enumerate(starts)]
    assert SpanStore(engine, "default", 10_000).store([Post(namespace, uid, uid, spans=spans)], OVER) == [True]


def open_spans(engine: sa.Engine) -> dict[str, int]:
    """How many spans are not folded, by pod."""
    span, pod = span_tables.span.c, span_tables.tracked_pod.c
    query = sa.select(pod.uid, sa.func.count()).join(span_tables.span, span.pod_id == pod.id)
    with engine.connect() as connection:
        rows = connection.execute(query.where(span.result.is_(None)).group_by(pod.uid)).all()
    return {row[0]: row[1] for row in rows}


def hurried(reader: ValuedReader) -> SpanFolding:
    """A folding whose clock passes six seconds each time it is read: a step has time for one pod."""
    seconds = itertools.count(step=6)
    return SpanFolding(reader, 7, 90, 35, clock=lambda: float(next(seconds)))


def test_namespaces_take_turns_whatever_one_of_them_posted(reader: ValuedReader, engine: sa.Engine) -> None:
    booker, late = Booker(engine), OVER + 6 * DAY + 8 * 3600  # the windows are there for some hours more
    book(booker, a_report(HOUR, "node-b", {"victim": 60}, labels=LABELS, namespace="team-b"))
    for uid in ("pod-1", "pod-2"):  # all before the other's, and more than are stored at once
        many_spans(engine, uid, 1_100)
    own = Span("own", "own", None, MS, MS + 1000)
    assert SpanStore(engine, "default", 100).store([Post("team-b", "victim", spans=[own])], OVER + 1) == [True]
    its = hurried(reader)
    its.step(late)
    assert open_spans(engine) == {"pod-2": 1_100, "victim": 1}, "a pod whose time is over is stored whole"
    its.step(late)
    assert open_spans(engine) == {"pod-2": 1_100}
    its.step(late)
    assert open_spans(engine) == {}


def test_a_pod_is_divided_once_and_a_new_process_goes_on_behind_what_is_stored(
    reader: ValuedReader, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_spans(engine, "pod-1", 1_700)
    at_once_uj, late = energy_of_the_spans(reader), OVER + 6 * DAY + 8 * 3600
    divided: list[int] = []
    divide, write = PodSpansReader.divide, SpanFolding._write

    def counted(its: PodSpansReader, connection: sa.Connection, pod: Any, stored: Any, asked: Any, *rest: Any) -> Any:
        divided.append(len(list(asked)))
        return divide(its, connection, pod, stored, asked, *rest)

    def ended(its: SpanFolding, results: Any) -> None:
        write(its, results)
        raise SystemExit

    monkeypatch.setattr(PodSpansReader, "divide", counted)
    with monkeypatch.context() as killed:
        killed.setattr(SpanFolding, "_write", ended)
        with pytest.raises(SystemExit):
            hurried(reader).step(late)
    assert open_spans(engine) == {"pod-1": 1_202}
    hurried(reader).step(late)
    assert (open_spans(engine), divided) == ({}, [1_702, 1_202])
    with engine.connect() as connection:
        pod = find_tracked(connection, "default", "pod-1")
        assert pod is not None
        results = [one.result for one in read_spans(connection, pod.id, 10_000)]
    energy_uj = sum(SpanResult.model_validate_json(result or b"").energy_uj or 0 for result in results)
    assert energy_uj == at_once_uj > 0


def test_a_pod_whose_spans_cannot_be_divided_keeps_none_of_the_others_open(
    reader: ValuedReader, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    many_spans(engine, "pod-2", 3)
    divide = PodSpansReader.divide

    def failing(its: PodSpansReader, connection: sa.Connection, pod: Any, *rest: Any) -> Any:
        if pod.uid == "pod-1":
            raise ArithmeticError
        return divide(its, connection, pod, *rest)

    monkeypatch.setattr(PodSpansReader, "divide", failing)
    its = folding(reader)
    for _ in range(2):
        its.step(OVER + 6 * DAY + 8 * 3600)
    assert open_spans(engine) == {"pod-1": 2}
    assert caplog.text.count("cannot be folded") == 1
    monkeypatch.setattr(PodSpansReader, "divide", divide)
    its.step(OVER + 7 * DAY + 8 * 3600)  # the next day's spans are looked at
    assert open_spans(engine) == {}


def test_spans_that_own_nothing_because_too_many_are_open_are_folded_too(
    reader: ValuedReader, engine: sa.Engine
) -> None:
    spans = [Span(f"n{n:02}", "x", n, MS + n, MS + 600_000 - n) for n in range(70)]
    assert SpanStore(engine, "default", 100).store([Post("team-a", "pod-1", spans=spans)], OVER) == [True]
    late = OVER + 8 * DAY
    folding(reader).step(late)
    assert open_spans(engine) == {}
    found = {span.id: span for span in answer(reader, late).spans}
    assert (found["n69"].energy_uj, found["n69"].emissions_ug, found["n69"].state) == (0, 0, "final")
    assert found["n69"].inclusive_energy_uj


def energy_of_the_spans(reader: ValuedReader) -> int:
    """What the spans of pod-1 have, divided at once."""
    with snapshot(reader.engine) as connection:
        pod = find_tracked(connection, "default", "pod-1")
        assert pod is not None
        stored = read_spans(connection, pod.id, 10_000)
        divided = PodSpansReader(reader).divide(connection, pod, stored, stored, (0, 0), OVER)
    return sum(span.energy_uj for span in divided.division.spans.values())


def test_a_server_folds_no_spans_of_another_cluster_in_the_same_ledger(reader: ValuedReader, engine: sa.Engine) -> None:
    settings = Settings(cluster="other", carbon=CarbonSettings(zone="WORLD", pue=1.0))
    folding(ValuedReader(engine, settings)).step(OVER + 36 * DAY)  # when its own would be final in any case
    with engine.connect() as connection:
        folded = sa.select(sa.func.count()).where(span_tables.span.c.result.is_not(None))
        assert connection.scalar(folded) == 0


def test_without_windows_a_span_gets_hourly_figures_that_still_add_up(reader: ValuedReader, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(span_tables.pod_window))
    found = answer(reader)
    assert {span.resolution for span in found.spans} == {"prorated"}
    assert found.energy_uj == found.rest_uj + sum(span.energy_uj or 0 for span in found.spans) == sum(range(300, 360))


def test_a_late_report_is_in_the_result_until_it_is_folded(reader: ValuedReader, engine: sa.Engine) -> None:
    before = answer(reader)
    book(Booker(engine), a_report(HOUR + 120, "node-2", {"pod-1": 1000}, labels=LABELS))
    after = answer(reader)
    assert after.energy_uj == before.energy_uj + 1000
    assert after.energy_uj == after.rest_uj + sum(span.energy_uj or 0 for span in after.spans)


def test_a_span_that_comes_after_the_folding_makes_what_it_touches_anew(
    reader: ValuedReader, engine: sa.Engine
) -> None:
    late = OVER + 8 * DAY
    folding(reader).step(late)
    inner = Span("batch", "batch", None, MS + 100_000, MS + 200_000)
    SpanStore(engine, "default", 100).store([Post("team-a", "pod-1", spans=[inner])], late)
    found = answer(reader, late)
    assert len(found.spans) == 3
    assert found.energy_uj == found.rest_uj + sum(span.energy_uj or 0 for span in found.spans)


def test_what_is_past_its_retention_is_deleted_with_its_pod(reader: ValuedReader, engine: sa.Engine) -> None:
    its = folding(reader)
    its.step(OVER + 89 * DAY)
    assert count(engine, span_tables.span) == 2
    its.step(OVER + 91 * DAY)
    assert count(engine, span_tables.span) == 0
    its.step(OVER + 92 * DAY)
    tables = (span_tables.tracked_pod, span_tables.progress_point, span_tables.posted_count, span_tables.pod_window)
    assert [count(engine, table) for table in tables] == [0, 0, 0, 0]
