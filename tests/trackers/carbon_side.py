"""Our server's side of the contract as a small real HTTP server: spans of a pod, and figures of runs."""

from __future__ import annotations

from typing import Any

from tests.trackers.json_side import JsonSide

MEGAJOULE = 10**12  # in microjoules


class CarbonSide:
    """What it was sent, and what it answers. `state` is of all spans; a span of step n used n + 1 MJ."""

    def __init__(self) -> None:
        self.spans: dict[str, dict[str, Any]] = {}
        self.runs: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[str] = []
        self.progress: list[tuple[int, int, str]] = []
        self.state = "provisional"
        self.status = 200
        self._side = JsonSide(self._answer)
        self.url, self.close = self._side.url, self._side.close

    def _answer(self, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if body is not None:
            for span in body.get("spans", ()):
                self.spans.setdefault(span["id"], span)
            if path == "/v1/self/progress":
                self.progress.append((body["done"], body["total"], body["unit"]))
                return self.status, {"prediction": {"energy_uj": 6 * MEGAJOULE, "emissions_ug": 600_000_000}}
            return self.status, {"accepted": len(body.get("spans", ())), "refused": [], "prediction": None}
        self.asked.append(path)
        if self.status != 200:
            return self.status, {"error": "not now"}
        if path == "/v1/self":
            return 200, self.self_answer(query)
        namespace, _, run = path.removeprefix("/api/v1/runs/").partition("/")
        if row := self.runs.get((namespace, run)):
            return 200, {"start": "2026-10-25T00:00:00Z", "end": "2026-11-29T00:00:00Z", "run": row, "rows": []}
        return 404, {"error": "no pod has this run"}

    def run(self, namespace: str, run: str, state: str, **figures: Any) -> None:
        """This run has figures now."""
        self.runs[namespace, run] = {
            "namespace": namespace, "run": run, "start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z",
            "energy_uj": str(36 * 10**12), "location_ug": "4200000", "market_ug": "2100000", "embodied_ug": "700000",
            "measured_percent": 83, "state": state, **figures,
        }  # fmt: skip

    def self_answer(self, query: dict[str, str]) -> dict[str, Any]:
        wanted = query["ids"].split(",") if "ids" in query else list(self.spans)
        rows = [self._result(self.spans[name]) for name in wanted if name in self.spans]
        return {"namespace": "team-a", "pod": "train-0", "pod_uid": "1111-2222", "tracked": True, "capped": False,
                "windows_until_ms": 2**52, "energy_uj": 10**15, "rest_uj": 0, "spans": rows}  # fmt: skip

    def _result(self, span: dict[str, Any]) -> dict[str, Any]:
        energy_uj = ((span.get("step") or 0) + 1) * MEGAJOULE
        return {
            **{name: span.get(name) for name in ("id", "name", "step", "start_ms", "end_ms")},
            "energy_uj": energy_uj, "inclusive_energy_uj": energy_uj, "emissions_ug": energy_uj // 10_000,
            "market_emissions_ug": energy_uj // 20_000, "embodied_ug": None, "low_ug": None, "high_ug": None,
            "measured_permille": 1000, "resolution": "weighted", "state": self.state,
        }  # fmt: skip
