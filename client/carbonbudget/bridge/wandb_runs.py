"""W&B's finished runs by W&B's own library: its API is GraphQL that only the library's versions follow."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from typing import Any

from carbonbudget.bridge.json_http import TIMEOUT_SECONDS, Away, Refused
from carbonbudget.bridge.run_figures import METRICS, TrackerFigures
from carbonbudget.bridge.tracker import BRIDGE, SHARED_BY, STATE, TrackerRun

CONFIG = "carbonbudget"  # the key of a run's config that has its namespace, run and pod_uid
_FINISHED = ("finished", "failed", "crashed", "killed")


class WandbRuns:
    """The runs of W&B projects, given as ENTITY/PROJECT. Figures go into the summary: history is closed."""

    name = "W&B"

    def __init__(self, projects: Sequence[str]) -> None:
        self._projects = projects
        self._runs: dict[str, Any] = {}
        self._api: Any = None

    def finished_runs(self, since_ms: int) -> Iterator[TrackerRun]:
        """Runs whose last sign of life is after `since_ms`, also failed and crashed ones. Raises Away."""
        self._runs.clear()
        since = datetime.datetime.fromtimestamp(since_ms / 1000, datetime.timezone.utc)
        filters = {
            "state": {"$in": list(_FINISHED)},
            f"config.{CONFIG}.value.namespace": {"$exists": True},
            "heartbeat_at": {"$gt": since.strftime("%Y-%m-%dT%H:%M:%S")},
        }
        for project in self._projects:
            try:
                for found in self._connected().runs(project, filters=filters, per_page=100, lazy=False):
                    run = _run(f"{project}/{found.id}", found)
                    if run is not None:
                        self._runs[run.id] = found
                        yield run
            except Away:
                raise
            except Exception as error:  # the library raises errors of its own, of requests and of its service
                raise Away(f"W&B does not list the runs of {project}: {_line(error)}") from None

    def write(self, run: TrackerRun, figures: TrackerFigures, shared_by: int) -> None:
        """The figures and their state, in one change of the summary. Raises Refused."""
        try:
            marks = {STATE: figures.state, SHARED_BY: shared_by, BRIDGE: 1}
            self._runs[run.id].summary.update({**figures.metrics(), **marks})
        except Exception as error:
            raise Refused(0, f"W&B does not take the figures, perhaps it was deleted: {_line(error)}") from None

    def _connected(self) -> Any:
        if self._api is None:
            try:
                import wandb
            except ImportError:
                raise Away("W&B's library is missing here: pip install wandb") from None
            self._api = wandb.Api(timeout=int(TIMEOUT_SECONDS))
        return self._api


def _run(id: str, found: Any) -> TrackerRun | None:
    ours = found.config.get(CONFIG)
    if not isinstance(ours, dict) or not isinstance(ours.get("namespace"), str):
        return None  # the filter is the server's matter: it may know fewer operators
    summary = dict(found.summary_metrics)
    return TrackerRun(
        id=id,
        title=str(found.name),
        namespace=ours["namespace"],
        run=str(ours.get("run") or ""),
        state=str(summary.get(STATE) or ""),
        ours=BRIDGE in summary,
        taken=next((name for name in METRICS if name in summary), ""),
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
