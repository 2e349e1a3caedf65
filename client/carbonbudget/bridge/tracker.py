"""What the bridge asks of a tracker: its finished runs that name a run of carbonbudget, and to write figures to one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from carbonbudget.bridge.run_figures import TrackerFigures

# Tags of a tracker's run. The first three are written when it starts, the others by the bridge.
NAMESPACE = "carbonbudget.namespace"
RUN = "carbonbudget.run"
POD_UID = "carbonbudget.pod_uid"
STATE = "carbonbudget.state"  # provisional or final
SHARED_BY = "carbonbudget.shared_by"  # how many runs of the tracker have the figures of this one run of carbonbudget
BRIDGE = "carbonbudget.bridge"  # set before the figures: whose they are, also where a write was cut off


@dataclass(frozen=True)
class TrackerRun:
    """A finished run of a tracker. `run` is "" where its pod had no run label; `nested` is part of another run."""

    id: str
    title: str
    namespace: str
    run: str
    state: str = ""  # what the bridge wrote before
    ours: bool = False  # the bridge began to write here before
    taken: str = ""  # a name of ours that is there already
    nested: bool = False


class Tracker(Protocol):
    """MLflow, W&B or Comet. Both methods raise Away; `write` raises Refused where this one run cannot be written."""

    name: str

    def finished_runs(self, since_ms: int) -> Iterator[TrackerRun]:
        """Runs that ended after `since_ms` (Unix milliseconds) and name a namespace of carbonbudget."""

    def write(self, run: TrackerRun, figures: TrackerFigures, shared_by: int) -> None:
        """Writes the figures, and last their state."""
