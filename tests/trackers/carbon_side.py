"""Our server's side of the contract as a small real HTTP server: spans of a pod, and figures of runs."""

from __future__ import annotations

import gzip
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MEGAJOULE = 10**12  # in microjoules


class CarbonSide:
    """What it was sent, and what it answers. `state` is of all spans; a span of step n used n + 1 MJ."""

    def __init__(self) -> None:
        self.spans: dict[str, dict[str, Any]] = {}
        self.runs: dict[tuple[str, str], dict[str, Any]] = {}
        self.asked: list[str] = []
        self.state = "provisional"
        self.status = 200
        side = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urllib.parse.urlsplit(self.path)
                side.asked.append(parts.path)
                if side.status != 200:
                    self._answer(side.status, {"error": "not now"})
                elif parts.path == "/v1/self":
                    self._answer(200, side.self_answer(urllib.parse.parse_qs(parts.query)))
                else:
                    namespace, _, run = parts.path.removeprefix("/api/v1/runs/").partition("/")
                    row = side.runs.get((namespace, run))
                    answer = {"start": "2026-10-25T00:00:00Z", "end": "2026-11-29T00:00:00Z", "run": row, "rows": []}
                    self._answer(200 if row else 404, answer if row else {"error": "no pod has this run"})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                told = json.loads(body)
                for span in told.get("spans", ()):
                    side.spans.setdefault(span["id"], span)
                self._answer(side.status, {"accepted": len(told.get("spans", ())), "refused": [], "prediction": None})

            def _answer(self, status: int, body: object) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def run(self, namespace: str, run: str, state: str, **figures: Any) -> None:
        """This run has figures now."""
        self.runs[namespace, run] = {
            "namespace": namespace, "run": run, "start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z",
            "energy_uj": str(36 * 10**12), "location_ug": "4200000", "market_ug": "2100000", "embodied_ug": "700000",
            "measured_percent": 83, "state": state, **figures,
        }  # fmt: skip

    def self_answer(self, query: dict[str, list[str]]) -> dict[str, Any]:
        wanted = query["ids"][0].split(",") if "ids" in query else list(self.spans)
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
