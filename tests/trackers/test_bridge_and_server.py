"""The bridge between our own server and MLflow's, both real: a run's figures before its hour is over, and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from tests.ledger.reports import HOUR, a_report
from tests.prometheus import free_port, until
from tests.server.server_face import Made, a_server

from carbonbudget.bridge.bridge_command import main
from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.run_labels import RUN

NAMES = {
    "carbon/energy_kwh": ("energy_uj", 3_600_000_000_000), "carbon/co2e_g": ("location_ug", 1_000_000),
    "carbon/co2e_market_g": ("market_ug", 1_000_000), "carbon/embodied_g": ("embodied_ug", 1_000_000),
}  # fmt: skip


@asynccontextmanager
async def served(made: Made) -> AsyncIterator[str]:
    """The address of the server on a port of this machine."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(made.app, port=port, log_level="error", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.to_thread(until, "our server", lambda: server.started, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def report(client: httpx.AsyncClient, first: int, last: int) -> None:
    """Two nodes report these minutes; the run trains on the first one until minute 50."""
    for minute in range(first, last):
        for node, labels in (("node-1", {RUN: "exp-42"}), ("node-2", {"app": "web"})):
            pods = {} if minute >= 50 and node == "node-1" else {f"{node}-pod": 10**9 + minute}
            made = a_report(HOUR + 60 * minute, node, pods, labels=labels)
            headers = {"Authorization": f"Bearer node:{node}"}
            answer = await client.post("/v1/reports", content=encode_report(made), headers=headers)
            assert answer.json() == {"result": "stored"}


async def test_a_run_has_the_servers_provisional_figures_once_and_its_final_ones_once(
    tmp_path: Path, mlflow: Any, experiment: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    token = tmp_path / "token"
    token.write_text("user:dev@team-a")
    run = mlflow.finished(experiment[1], "t", namespace="team-a", run="exp-42")

    async with (
        a_server(f"sqlite:///{tmp_path}/ledger.db") as made,
        served(made) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):

        async def round_of_the_bridge() -> str:
            ours = ["--server-url", url, "--token-file", str(token)]
            options = ["mlflow", "--tracking-uri", mlflow.url, "--experiment", experiment[0], *ours]
            assert await asyncio.to_thread(main, options) == 0
            return capsys.readouterr().out.strip()

        async def figures() -> tuple[str, dict[str, float]]:
            """The run's state and figures as the server answers them."""
            headers = {"Authorization": "Bearer user:dev@team-a"}
            row = (await client.get("/api/v1/runs/team-a/exp-42", headers=headers)).json()["run"]
            return row["state"], {name: int(row[key]) / unit for name, (key, unit) in NAMES.items()}

        async def written() -> dict[str, float]:
            metrics, _ = await asyncio.to_thread(mlflow.run, run)
            return {name: metrics[name] for name in NAMES}

        made.api.namespaces = {"team-a"}
        made.clock[0] = HOUR + 52 * 60
        await report(client, 0, 52)
        state, before = await figures()
        assert state == "provisional"
        assert await round_of_the_bridge() == "MLflow: 1 provisional, 0 final, 0 unchanged, 0 failed"
        assert await written() == pytest.approx(before)
        assert await round_of_the_bridge() == "MLflow: 0 provisional, 0 final, 1 unchanged, 0 failed"

        made.clock[0] = HOUR + 3600 + 90
        await report(client, 52, 61)
        state, after = await figures()
        assert state == "final"
        assert after != before  # idle energy of the hour's last minutes
        assert await round_of_the_bridge() == "MLflow: 0 provisional, 1 final, 0 unchanged, 0 failed"
        assert await round_of_the_bridge() == "MLflow: 0 provisional, 0 final, 1 unchanged, 0 failed"
        assert await written() == pytest.approx(after)
    assert mlflow.run(run)[1]["carbonbudget.state"] == "final"
    for name in NAMES:
        assert mlflow.history(run, name) == [(0, pytest.approx(before[name])), (1, pytest.approx(after[name]))]
