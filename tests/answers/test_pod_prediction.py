"""What a pod is predicted to need is of its own node's grid, and costs no more than its own days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.pod_prediction import PodPredictions
from carbonbudget_operator.intensity_settings import StaticSourceSettings
from carbonbudget_operator.ledger import pod_steps
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.pod_steps import first_step_ms, read_steps
from carbonbudget_operator.ledger.span_store import Post, ProgressPoint, SpanStore
from carbonbudget_operator.ledger.tracked_pods import find_tracked
from carbonbudget_operator.settings import CarbonSettings, IntensitySettings, Settings
from carbonbudget_operator.spans.span_bodies import PredictionBody
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

LABELS = {"carbonbudget.dev/run": "exp-42"}
NOW = HOUR + 600
STATED = StaticSourceSettings(
    figures={"SE": Decimal(20), "PL": Decimal(800)}, basis="lifecycle", source="a contract", year=2025
)
REGIONS = {"node-1": "eu-north-1", "node-2": "PL"}  # a region of AWS in Sweden, and a country


def reported(engine: sa.Engine, nodes: Sequence[str]) -> ValuedReader:
    """Ten minutes of pod-1 on node-1 and of others elsewhere."""
    booker = Booker(engine)
    for minute in range(10):
        for node in nodes:
            pods = {"pod-1" if node == "node-1" else f"pod-{node}": 300_000_000}
            made = a_report(HOUR + 60 * minute, node, pods, labels=LABELS)
            book(booker, replace(made, node_info=replace(made.node_info, region=REGIONS[node])))
    carbon = CarbonSettings(pue=1.0, intensity=IntensitySettings(sources=[STATED]))
    return ValuedReader(engine, Settings(carbon=carbon))


def predicted(reader: ValuedReader, *instants_ms: int) -> PredictionBody | None:
    """After so many epochs were done at these instants, of a hundred."""
    points = [ProgressPoint("epoch", done, 100, at_ms) for done, at_ms in enumerate(instants_ms)]
    posts = [Post("team-a", "pod-1", "pod-1", progress=point) for point in points]
    assert all(SpanStore(reader.engine, "default", 100).store(posts, NOW))
    return PodPredictions(reader).predict("pod-1", "epoch", NOW)


def test_the_expected_intensity_is_that_of_the_pods_own_grid(engine: sa.Engine) -> None:
    found = predicted(reported(engine, ("node-1", "node-2")), HOUR * 1000, HOUR * 1000 + 300_000)
    assert found is not None
    # 100 epochs of 1.5 kJ and its idle energy at 20 g/kWh; at Poland's 800 g it would be 40 times as much.
    assert found.emissions_ug < 2 * found.energy_uj * 20_000_000 // 3_600_000_000_000


def test_a_step_that_began_before_what_is_stored_counts_none(engine: sa.Engine) -> None:
    assert predicted(reported(engine, ("node-1",)), 0, HOUR * 1000 + 300_000) is None


def test_answers_about_budgets_wait_for_no_more_than_a_week_of_a_pods_hours(engine: sa.Engine) -> None:
    """They need the rest alone, in a thread that evaluations wait for. The pod itself is told by all of its steps."""
    reader, now_ms = reported(engine, ("node-1",)), NOW * 1000
    assert predicted(reader, now_ms - 8 * 86_400_000, now_ms - 60_000) is not None
    predictions = PodPredictions(reader)
    assert predictions.rest("pod-1", "epoch", NOW) is None
    assert predicted(reader, now_ms - 6 * 86_400_000, now_ms - 60_000) is not None
    assert predictions.rest("pod-1", "epoch", NOW) is not None


def test_steps_are_the_newest_spans_of_their_name_among_the_newest_of_the_pod(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, store = reported(engine, ("node-1",)), SpanStore(engine, "default", 10_000)
    steps = [Span(f"e{n}", "epoch", n, HOUR * 1000 + n * 60_000, HOUR * 1000 + (n + 1) * 60_000) for n in range(5)]
    others = [Span(f"x{n}", "x", n, HOUR * 1000, HOUR * 1000 + 5) for n in range(1_500)]
    for spans in (steps, others[:800], others[800:]):
        assert store.store([Post("team-a", "pod-1", "pod-1", spans=spans)], NOW) == [True]
    point = ProgressPoint("epoch", 5, 10, NOW * 1000)
    assert store.store([Post("team-a", "pod-1", "pod-1", progress=point)], NOW) == [True]
    with engine.connect() as connection:
        pod = find_tracked(connection, "default", "pod-1")
        assert pod is not None
        named = read_steps(connection, pod.id, "epoch", HOUR * 1000, NOW * 1000, 3)
        assert sorted(one.span.id for one in named) == ["e2", "e3", "e4"]
        assert first_step_ms(connection, pod.id, "epoch") == HOUR * 1000
        monkeypatch.setattr(pod_steps, "MOST_LOOKED_AT", 1_500)
        assert read_steps(connection, pod.id, "epoch", HOUR * 1000, NOW * 1000, 3) == []
        assert first_step_ms(connection, pod.id, "epoch") is None
        monkeypatch.undo()
    found = PodPredictions(reader).rest("pod-1", "epoch", NOW)
    assert found is not None
    assert found.prediction.ends_at_ms == (NOW + 300) * 1000
