"""What the controller takes at its start where tenants made objects of the largest size that an API server keeps.

The process is the real command; the API server is a stub in a process of its own. `peak_mib` is the most resident
memory from the start until ten seconds after everything was listed, `limit_mib` the chart's limit, `listed_s` how long
the lists took. CARBONBUDGET_BENCH_CODE names another checkout whose code is measured.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from aiohttp import web
from benchmarks.figures import Figures, arguments, show

from carbonbudget_operator.api.wire_names import GROUP, RESOURCES, VERSION

LIMIT_MIB = 256
SIZE = 1_400_000
AFTER_SECONDS = 10.0
LONGEST_SECONDS = 180.0
_BUDGETS, _CLUSTER, _JOBS = "carbonbudgets", "clustercarbonbudgets", "jobs"


def a_job(number: int) -> bytes:
    """Suspended, opted in, and full of what takes most memory once parsed."""
    env = [{"name": f"a{index}", "value": "x"} for index in range(SIZE // 28)]
    return _json({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(number, labels={"carbonbudget.dev/suspendable": "true"}),
        "spec": {"suspend": True, "template": {"spec": {"containers": [{"name": "c", "env": env}]}}},
    })  # fmt: skip


def a_budget(number: int) -> bytes:
    """Whose metadata is as large as an API server keeps: what the policy `carbonbudget-budget-size` refuses."""
    labels = {f"{index:05}.{'p' * 40}/{'k' * 10}": "v" for index in range(SIZE // 64)}
    return _json({
        "apiVersion": "carbonbudget.dev/v1alpha1",
        "kind": "CarbonBudget",
        "metadata": _metadata(number, labels=labels),
        "spec": {"limit": "5kg", "period": "Month"},
    })  # fmt: skip


def _metadata(number: int, labels: dict[str, str]) -> dict[str, Any]:
    made = {"name": f"x{number}", "namespace": "team-a", "uid": f"u{number}", "resourceVersion": "1", "generation": 1}
    return made | {"creationTimestamp": "2026-11-29T00:00:00Z", "labels": labels}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _discovery(path: str) -> dict[str, Any]:
    """What kopf asks before it watches: the groups, our kinds, and those that it wants to know itself."""
    group = f"{GROUP}/{VERSION}"
    if path == "/apis":
        versions = [{"groupVersion": group, "version": VERSION}]
        return {"groups": [{"name": GROUP, "versions": versions, "preferredVersion": versions[0]}]}
    found = {
        f"/apis/{group}": [(one.plural, one.kind, one.namespaced) for one in RESOURCES],
        "/api/v1": [("namespaces", "Namespace", False), ("events", "Event", True)],
    }.get(path, [])
    shared = {"verbs": ["get", "list", "watch", "patch", "create"]}
    return {
        "versions": ["v1"],
        "resources": [
            shared | {"name": name, "singularName": kind.lower(), "kind": kind, "namespaced": namespaced}
            for name, kind, namespaced in found
        ],
    }


def serve(port: Any, listed: Event, jobs: int, budgets: int) -> None:
    """The stub, for ever. `listed` is set when Jobs and budgets have been listed to their end."""
    items = {_JOBS: [a_job(0)] * jobs, _BUDGETS: [a_budget(0)] * budgets}
    if jobs:
        items[_JOBS] = [items[_JOBS][0].replace(b'"uid":"u0"', b'"uid":"u%d"' % n) for n in range(jobs)]
    if budgets:
        one = items[_BUDGETS][0]
        items[_BUDGETS] = [
            one.replace(b'"uid":"u0"', b'"uid":"u%d"' % n).replace(b'"name":"x0"', b'"name":"x%d"' % n)
            for n in range(budgets)
        ]
    ended: set[str] = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        plural = request.path.rsplit("/", 1)[1]
        if request.method != "GET":
            return web.json_response({"metadata": {}})
        if "watch" in request.query:
            stream = web.StreamResponse()
            await stream.prepare(request)
            await asyncio.sleep(LONGEST_SECONDS)
            return stream
        if plural not in (_JOBS, _BUDGETS, _CLUSTER, "namespaces"):
            return web.json_response(_discovery(request.path))
        return await _list(request, plural)

    async def _list(request: web.Request, plural: str) -> web.StreamResponse:
        alone = b"PartialObjectMetadata" in request.headers.get("Accept", "").encode()
        found = items.get(plural, [])
        start, limit = int(request.query.get("continue") or 0), int(request.query.get("limit") or len(found) or 1)
        end = min(start + limit, len(found))
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        await stream.prepare(request)
        token = str(end) if end < len(found) else ""
        try:
            await stream.write(
                b'{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1","continue":"%s"},"items":['
                % token.encode()
            )
            for index in range(start, end):
                text = found[index]
                if alone:
                    text = _json({"metadata": {"uid": f"u{index}", "name": f"x{index}", "resourceVersion": "1"}})
                await stream.write((b"," if index > start else b"") + text)
            await stream.write(b"]}")
            await stream.write_eof()
        except ConnectionError:
            return stream  # it asks for a smaller page
        if not token and not alone:
            ended.add(plural)
        if {_JOBS, _BUDGETS} <= ended:
            listed.set()
        return stream

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def measure(jobs: int, budgets: int) -> Figures:
    """One start."""
    port, listed = multiprocessing.Queue(), multiprocessing.Event()
    stub = multiprocessing.Process(target=serve, args=(port, listed, jobs, budgets), daemon=True)
    stub.start()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port.get()}"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        (directory / "kubeconfig").write_text(json.dumps(config))
        settings = {"certificates": False, "namespace": "system", "window_seconds": 10, "listen": "127.0.0.1:18099"}
        (directory / "config.yaml").write_text(json.dumps({"controller": settings}))
        code = os.environ.get("CARBONBUDGET_BENCH_CODE")
        path = {"PYTHONPATH": f"{code}/operator:{code}/agent"} if code else {}
        command = "import sys; from carbonbudget_operator.cli.main import main; sys.exit(main())"
        process = subprocess.Popen(
            [sys.executable, "-c", command, "controller", "--config", str(directory / "config.yaml")],
            env=os.environ | {"KUBECONFIG": str(directory / "kubeconfig")} | path,
            stderr=subprocess.DEVNULL,
        )
        try:
            return {"jobs": jobs, "budgets": budgets} | _watched(process.pid, listed) | {"limit_mib": LIMIT_MIB}
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
            stub.kill()
            stub.join()


def _watched(pid: int, listed: Event) -> Figures:
    """Until some seconds after all was listed, or the memory is ten times the limit: more would harm the machine."""
    began, peak, listed_at = time.monotonic(), 0.0, 0.0
    while time.monotonic() - began < LONGEST_SECONDS:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        if "VmHWM" not in fields:
            break  # it ended
        peak = int(fields["VmHWM"].split()[0]) / 1024
        if not listed_at and listed.is_set():
            listed_at = time.monotonic()
        if peak > LIMIT_MIB * 10 or (listed_at and time.monotonic() - listed_at > AFTER_SECONDS):
            break
        time.sleep(0.1)
    return {"listed_s": round(listed_at - began, 1) if listed_at else "never", "peak_mib": round(peak)}


def main() -> None:
    """Without any, with Jobs, with budgets, with both."""
    wanted = arguments(__doc__ or "")
    cases = [(0, 0), (25, 0), (0, 25)] if wanted.quick else [(0, 0), (25, 0), (200, 0), (0, 25), (0, 200), (100, 100)]
    show([measure(*case) for case in cases], wanted.json)


if __name__ == "__main__":
    main()
