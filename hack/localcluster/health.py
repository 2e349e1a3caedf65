"""Checks whether components answer, and reads from the API server with the admin's certificate."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .settings import Settings


def get_ok(url: str, ca: Path | None = None) -> bool:
    """Whether a GET answers 200. Without `ca` a server's certificate is not checked (loopback probes)."""
    try:
        return _open(url, ca).status == 200
    except (OSError, http.client.HTTPException, ValueError):
        return False


def _open(url: str, ca: Path | None, client: Path | None = None) -> http.client.HTTPResponse:
    context = ssl.create_default_context(cafile=str(ca) if ca else None)
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client is not None:
        context.load_cert_chain(f"{client}.crt", f"{client}.key")
    # No proxy of the environment may stand between us and our own machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    response: http.client.HTTPResponse = opener.open(url, timeout=5)
    return response


def containerd_ok(socket: Path, namespace: str) -> bool:
    command = [
        "ctr",
        "--address",
        str(socket),
        "--namespace",
        namespace,
        "--connect-timeout",
        "2s",
        "version",
    ]
    try:
        return subprocess.run(command, capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def api(settings: Settings, path: str) -> dict[str, Any] | None:
    """An object of the API server, or None while it does not answer (or has no such object)."""
    pki = settings.pki
    try:
        body = _open(f"https://127.0.0.1:6443{path}", pki / "ca.crt", pki / "admin").read()
        found: dict[str, Any] = json.loads(body)
    except (OSError, http.client.HTTPException, ValueError):
        return None
    return found


def node_ready(settings: Settings, name: str = "") -> bool:
    """Whether a node (by default the first) is Ready."""
    node = api(settings, f"/api/v1/nodes/{name or settings.node_name}") or {}
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def dns_ready(settings: Settings) -> bool:
    coredns = api(settings, "/apis/apps/v1/namespaces/kube-system/deployments/coredns") or {}
    return int(coredns.get("status", {}).get("readyReplicas") or 0) > 0


def wait(check: Callable[[], bool], seconds: float, pause_s: float = 0.25) -> bool:
    """Whether `check` came true within `seconds`."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_s)
    return True
