"""What a pod is predicted to need is of its own node's grid, and costs no more than its own days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import sqlalchemy as sa
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.pod_prediction import PodPredictions
from carbonbudget_operator.intensity_settings import StaticSourceSettings
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.span_store import Post, ProgressPoint, SpanStore
from carbonbudget_operator.settings import CarbonSettings, IntensitySettings, Settings
from carbonbudget_operator.spans.span_bodies import PredictionBody
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
