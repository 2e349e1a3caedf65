"""Comet's ended experiments by its REST API v2: no library of Comet's is needed where the bridge runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from carbonbudget.bridge.json_http import JsonHttp, Refused
from carbonbudget.bridge.run_figures import FINAL, METRICS, TrackerFigures
from carbonbudget.bridge.tracker import BRIDGE, NAMESPACE, RUN, SHARED_BY, STATE, TrackerRun

DEFAULT_URL = "https://www.comet.com"
_API = "/api/rest/v2"


class CometRuns:
    """The experiments of Comet projects, given as WORKSPACE/PROJECT; our names are among their "others"."""

    name = "Comet"

    def __init__(self, url: str, api_key: str, projects: Sequence[str]) -> None:
        self._http = JsonHttp("Comet", url, {"Authorization": api_key})
        self._projects = projects
        self._ends: dict[str, int] = {}

    def finished_runs(self, since_ms: int) -> Iterator[TrackerRun]:
        """Experiments that ended after `since_ms` and name a namespace. Raises Away and Refused."""
        self._ends.clear()
        for project in self._projects:
            workspace, _, name = project.partition("/")
            query = [("workspaceName", workspace), ("projectName", name), ("archived", "false")]
            for found in self._http.get(f"{_API}/experiments", query).get("experiments", ()):
                ended_ms = int(found.get("endTimeMillis") or 0)
                if not found.get("running") and ended_ms > since_ms:
                    run = self._run(found)
                    if run is not None:
                        self._ends[run.id] = ended_ms
                        yield run

    def write(self, run: TrackerRun, figures: TrackerFigures, shared_by: int) -> None:
        """The figures at step 0 (provisional) and 1 (final), then their state. Raises Away and Refused."""
        self._other(run, BRIDGE, "1")
        for key, value in figures.metrics().items():
            self._http.post(
                f"{_API}/write/experiment/metric",
                {
                    "experimentKey": run.id,
                    "metricName": key,
                    "metricValue": value,
                    "step": int(figures.state == FINAL),
                    "timestamp": self._ends[run.id],
                },
            )
        self._other(run, SHARED_BY, str(shared_by))
        self._other(run, STATE, figures.state)

    def _other(self, run: TrackerRun, key: str, value: str) -> None:
        self._http.post(f"{_API}/write/experiment/log-other", {"experimentKey": run.id, "key": key, "value": value})

    def _run(self, found: Any) -> TrackerRun | None:
        key = found["experimentKey"]
        try:
            others = _values(self._http.get(f"{_API}/experiment/log-other", [("experimentKey", key)]))
            if NAMESPACE not in others:
                return None
            metrics = _values(self._http.get(f"{_API}/experiment/metrics/summary", [("experimentKey", key)]))
        except Refused as refused:
            if refused.status in (400, 404):
                return None  # deleted since it was listed
            raise
        return TrackerRun(
            id=key,
            title=str(found.get("experimentName") or key),
            namespace=others[NAMESPACE],
            run=others.get(RUN, ""),
            state=others.get(STATE, ""),
            ours=BRIDGE in others,
            taken=next((name for name in METRICS if name in metrics), ""),
        )


def _values(answer: Any) -> dict[str, str]:
    return {each["name"]: str(each.get("valueCurrent")) for each in answer.get("values", ())}
