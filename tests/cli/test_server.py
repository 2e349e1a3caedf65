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
from pathlib import Path

from aiohttp.test_utils import unused_port
from tests.controller.api_server import ApiServer, eventually

from carbonbudget_operator.controller.certificates import make_ca, make_leaf


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
