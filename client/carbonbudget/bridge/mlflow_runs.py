"""MLflow's finished runs by its REST API 2.0: no MLflow is installed where the bridge runs."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from carbonbudget.bridge.json_http import JsonHttp, Refused
from carbonbudget.bridge.run_figures import FINAL, METRICS, TrackerFigures
from carbonbudget.bridge.tracker import BRIDGE, NAMESPACE, RUN, SHARED_BY, STATE, TrackerRun

_API = "/api/2.0/mlflow"
_PARENT = "mlflow.parentRunId"
_PAGE = 500
_MAX_PAGES = 1_000  # half a million runs: more in one round is a server that never ends its pages


def credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """The header that MLflow's own client would send, from the same variables."""
    if token := environment.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := environment.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{environment.get('MLFLOW_TRACKING_PASSWORD', '')}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    return {}


class MlflowRuns:
    """The runs of an MLflow server, of the experiments with these names, or of all without any."""

    name = "MLflow"

    def __init__(self, url: str, headers: Mapping[str, str], experiments: Sequence[str] = ()) -> None:
        self._http = JsonHttp("MLflow", url, headers)
        self._experiments = frozenset(experiments)
        self._ends: dict[str, int] = {}

    def finished_runs(self, since_ms: int) -> Iterator[TrackerRun]:
        """Runs that ended after `since_ms`, also failed and killed ones, newest first. Raises Away."""
        self._ends.clear()
        ids = self._experiment_ids()
        # MLflow takes them in one request; a list of thousands would make its SQL slow.
        for first in range(0, len(ids), 100):
            query = {
                "experiment_ids": ids[first : first + 100],
                "filter": f"attributes.end_time > {since_ms} and tags.`{NAMESPACE}` LIKE '%'",
                "run_view_type": "ACTIVE_ONLY",
                "order_by": ["attributes.end_time DESC"],
            }
            for found in self._pages("/runs/search", query, "runs"):
                self._ends[found["info"]["run_id"]] = int(found["info"]["end_time"])
                yield _run(found)

    def write(self, run: TrackerRun, figures: TrackerFigures, shared_by: int) -> None:
        """The figures at step 0 (provisional) and 1 (final): MLflow shows the highest step. Raises Away, Refused."""
        try:
            self._http.post(f"{_API}/runs/set-tag", {"run_id": run.id, "key": BRIDGE, "value": "1"})
            at = {"timestamp": self._ends[run.id], "step": int(figures.state == FINAL)}
            tags = {STATE: figures.state, SHARED_BY: str(shared_by)}
            self._http.post(
                f"{_API}/runs/log-batch",
                {
                    "run_id": run.id,
                    "metrics": [{"key": key, "value": value, **at} for key, value in figures.metrics().items()],
                    "tags": [{"key": key, "value": value} for key, value in tags.items()],
                },
            )
        except Refused as refused:
            if refused.status in (400, 404) and ("active" in str(refused) or "not found" in str(refused)):
                raise Refused(refused.status, "it was deleted") from None
            raise

    def _experiment_ids(self) -> list[str]:
        pages = self._pages("/experiments/search", {"view_type": "ACTIVE_ONLY"}, "experiments")
        return [e["experiment_id"] for e in pages if not self._experiments or e["name"] in self._experiments]

    def _pages(self, path: str, query: Mapping[str, Any], key: str) -> Iterator[Any]:
        body = {**query, "max_results": _PAGE}
        for _ in range(_MAX_PAGES):
            answer = self._http.post(_API + path, body)
            yield from answer.get(key, ())
            if not (token := answer.get("next_page_token")):
                return
            body["page_token"] = token


def _run(found: Any) -> TrackerRun:
    tags = {tag["key"]: tag["value"] for tag in found["data"].get("tags", ())}
    metrics = {metric["key"] for metric in found["data"].get("metrics", ())}
    return TrackerRun(
        id=found["info"]["run_id"],
        title=found["info"].get("run_name", ""),
        namespace=tags[NAMESPACE],
        run=tags.get(RUN, ""),
        state=tags.get(STATE, ""),
        ours=BRIDGE in tags,
        taken=next((name for name in METRICS if name in metrics), ""),
        nested=_PARENT in tags,
    )
