"""`carbonbudget server` as a process: it answers over TLS, and ends when it is told to."""

from __future__ import annotations

import asyncio
import datetime as dt
import http.client
import json
import os
import signal
import ssl
import sys
import time
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from aiohttp.test_utils import unused_port
from tests.controller.api_server import ApiServer, eventually
from tests.databases import make_tables

from carbonbudget_operator.cluster.pods import PodIndex
from carbonbudget_operator.controller.certificates import make_ca, make_leaf
from carbonbudget_operator.kube import watch_restart
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.server import wiring
from carbonbudget_operator.settings import load_settings


async def test_it_ends_while_an_agent_keeps_its_connection_and_does_not_read(tmp_path: Path) -> None:
    """An agent looks at its connection when it has the next report: with windows of a minute that is long."""
    api, port = ApiServer(), unused_port()
    await api.start()
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("carbonbudget"), "server", "--config", settings(tmp_path, port)),
        env=os.environ | {"KUBECONFIG": str(kubeconfig(tmp_path, api.port))},
        stderr=asyncio.subprocess.PIPE,
    )
    connection = http.client.HTTPSConnection(
        "localhost", port, timeout=5, context=ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    )
    try:
        await eventually(lambda: answers(connection), seconds=60)
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), 10)
    finally:
        connection.close()
        if process.returncode is None:
            process.kill()
            await process.wait()
        await api.stop()
    assert process.returncode == -signal.SIGTERM, said.decode()  # as uvicorn has it: the signal again at the end
    assert "Traceback" not in said.decode()


async def test_before_it_listens_it_has_the_labels_that_budgets_select_by_and_its_watch_of_pods_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    api, port, found = ApiServer(), unused_port(), list[Set[str]]()
    config = load_settings(settings(tmp_path, port), {})
    engine = open_ledger(config.server.ledger)
    make_tables(engine)
    former = LedgerWriter(engine)
    former.select_labels([(["team-a"], "project", ["x"])], int(time.time()))
    former.close()
    engine.dispose()

    class Observed(PodIndex):
        def __init__(self, *args: Any, selected: Callable[[str], Set[str]], **options: Any) -> None:
            super().__init__(*args, selected=selected, **options)
            found.append(selected("team-a"))

        async def run(self) -> None:
            raise AttributeError("a defect of ours")

    monkeypatch.setattr(watch_restart, "_FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(wiring, "PodIndex", Observed)
    monkeypatch.setattr(wiring, "collect_seldom", lambda: None)
    monkeypatch.setattr(uvicorn.Server, "serve", lambda self: asyncio.Event().wait())  # it would leave its socket open
    monkeypatch.setattr(sys, "setswitchinterval", lambda seconds: None)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, api.port)))
    await api.start()
    serving = asyncio.create_task(wiring.run(config, "127.0.0.1", port, "info", "text"))
    again = "the watch of /api/v1/pods failed and restarts in"
    try:
        await eventually(lambda: caplog.text.count(again) >= 2, seconds=30)
    finally:
        serving.cancel()
        await asyncio.wait([serving])
        await api.stop()
    assert found == [{"project"}]


def answers(connection: http.client.HTTPSConnection) -> bool:
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().read() is not None
    except OSError:
        connection.close()
        return False


def settings(directory: Path, port: int, host: str = "127.0.0.1") -> Path:
    ca = make_ca(dt.datetime.now(dt.UTC))
    leaf = make_leaf(ca, ["localhost"], dt.datetime.now(dt.UTC))
    (directory / "ca.crt").write_text(ca.certificate)
    (directory / "tls.crt").write_text(leaf.certificate)
    (directory / "tls.key").write_text(leaf.key)
    server = {
        "listen": f"{host}:{port}",
        "ledger": f"sqlite:///{directory}/ledger.db",
        "tls_cert": f"{directory}/tls.crt",
        "tls_key": f"{directory}/tls.key",
    }
    path = directory / "config.yaml"
    path.write_text(json.dumps({"server": server}))
    return path


def kubeconfig(directory: Path, port: int) -> Path:
    path = directory / "kubeconfig"
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path.write_text(json.dumps(config))
    return path
