"""A real server process over TLS: what a pod is told adds up to the microjoule, also after a restart."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import httpx
from aiohttp import web
from tests.ledger.reports import a_report
from tests.server.server_face import AGENT
from tests.serving import Serving, serving

from carbonbudget_core.node_report_json import encode_report

LABELS = {"carbonbudget.dev/run": "exp-42"}


async def review(request: web.Request) -> web.Response:
    """TokenReview: the agent of node-1, or the pod of that uid."""
    spec = (await request.json())["spec"]
    bound = {"pod-name": [spec["token"]], "pod-uid": [spec["token"]]}
    user = {"username": "system:serviceaccount:team-a:default"}
    if spec["token"] == "node-1":
        bound, user = {"node-name": ["node-1"]}, {"username": AGENT}
    extra = {f"authentication.kubernetes.io/{key}": value for key, value in bound.items()}
    status = {"authenticated": True, "audiences": spec["audiences"], "user": {**user, "extra": extra}}
    return web.json_response({"status": status})


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def answered(client: httpx.AsyncClient, method: str, path: str, token: str, **more: Any) -> dict[str, Any]:
    """The answer, once the server answers and no limit is in the way."""
    async with asyncio.timeout(60):
        while True:
            try:
                answer = await client.request(method, path, headers={"Authorization": f"Bearer {token}"}, **more)
            except httpx.TransportError:
                await asyncio.sleep(0.05)  # it starts
                continue
            if answer.status_code == 503:
                await asyncio.sleep(0.2)
                continue
            assert answer.status_code == 200, answer.text
            return dict(answer.json())


async def test_spans_and_the_rest_are_the_pod_and_a_restart_changes_nothing(tmp_path: Path) -> None:
    ledger, port = f"sqlite:///{tmp_path}/ledger.db", free_port()
    start = (int(time.time()) // 60 - 12) * 60
    ms = start * 1000
    spans = [
        {"id": "train", "name": "train", "start_ms": ms + 1_000, "end_ms": ms + 599_000, "cpu_us": [0, 10**9]},
        {"id": "e1", "name": "epoch", "step": 1, "start_ms": ms + 10_500, "end_ms": ms + 200_001, "cpu_us": [5, 10**8]},
        {"id": "e2", "name": "epoch", "step": 2, "start_ms": ms + 150_000, "end_ms": ms + 420_000},
    ]

    def client_of(server: Serving) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=f"https://localhost:{port}", verify=server.trust, timeout=30)

    async with serving(tmp_path, ledger, review, port=port) as server, client_of(server) as client:
        for minute in range(10):
            report = a_report(start + 60 * minute, pods={"pod-1": 1_000_003 + minute, "pod-2": 5}, labels=LABELS)
            body = encode_report(report).encode()
            assert await answered(client, "POST", "/v1/reports", "node-1", content=body) == {"result": "stored"}
        posted = await answered(client, "POST", "/v1/self/spans", "pod-1", json={"run": "exp-42", "spans": spans})
        assert posted == {"accepted": 3, "refused": []}
        before = await answered(client, "GET", "/v1/self", "pod-1")
    assert before["energy_uj"] == sum(1_000_003 + minute for minute in range(10))
    assert before["energy_uj"] == before["rest_uj"] + sum(span["energy_uj"] for span in before["spans"])
    assert all(span["energy_uj"] > 0 for span in before["spans"])
    async with serving(tmp_path, ledger, review, port=port) as server, client_of(server) as client:
        await answered(client, "POST", "/v1/self/spans", "pod-1", json={"run": "exp-42", "spans": spans})
        after = await answered(client, "GET", "/v1/self", "pod-1")
    energies = [[(span["id"], span["energy_uj"]) for span in one["spans"]] for one in (before, after)]
    assert energies[0] == energies[1]
    assert (after["energy_uj"], after["rest_uj"]) == (before["energy_uj"], before["rest_uj"])
