"""Spans and results of tests without a server, and the stand-in for a class of Lightning or Keras."""

from __future__ import annotations

from carbonbudget import track
from carbonbudget.span_results import Result
from carbonbudget.tracked_span import TrackedSpan

FOUND = Result({"energy_uj": 3_600_000_000_000, "emissions_ug": 5_000_000, "state": "provisional"})
FINAL = Result({"energy_uj": 3_600_000_000_000, "emissions_ug": 6_000_000, "state": "final"})


def ended_span(name: str = "epoch", step: int | None = 3) -> TrackedSpan:
    opened = track(name, step).start()
    opened.end()
    return opened


class StandInCallback:
    """Stands for `lightning.pytorch.Callback`, since Lightning needs torch, which the tests lack; and for Keras'."""
