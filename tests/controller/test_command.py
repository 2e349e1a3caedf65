"""`carbonbudget controller` as a process: it starts, answers its probe, and ends when it is told to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
from aiohttp.test_utils import unused_port
from tests.controller.api_server import ApiServer, eventually
from tests.controller.objects import a_body

from carbonbudget_operator.api.wire_names import BUDGET, RESOURCES


async def test_it_ends_on_sigterm_without_a_failure(tmp_path: Path) -> None:
    api, port = ApiServer(), unused_port()
    await api.start()
    api.put(BUDGET, a_body())
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{api.port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    settings = {"certificates": False, "namespace": "system", "window_seconds": 10, "listen": f"127.0.0.1:{port}"}
    (tmp_path / "config.yaml").write_text(json.dumps({"controller": settings}))
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).with_name("carbonbudget"), "controller", "--config", tmp_path / "config.yaml"),
        env=os.environ | {"KUBECONFIG": str(tmp_path / "kubeconfig")},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await eventually(lambda: all(api.watching(resource.plural) for resource in RESOURCES), seconds=60)
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/healthz") as response:
            assert response.status == 200
        await eventually(lambda: api.writes, seconds=30)  # the server is away: that is said in the status
        process.send_signal(signal.SIGTERM)
        _, said = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await api.stop()
    assert process.returncode == 0, said.decode()
    assert "Traceback" not in said.decode()
    assert {write for write in api.writes if "carbonbudgets" in write} == {
        "PATCH /apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbonbudgets/monthly/status"
    }
