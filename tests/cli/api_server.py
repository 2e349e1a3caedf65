"""A small HTTP server that answers as an API server does, or as one should not; and a kubeconfig for it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.fake_http_server import FakeHttpServer

JsonObject = dict[str, Any]


@dataclass
class Said:
    """One answer."""

    body: object = field(default_factory=dict)
    status: int = 200
    warnings: tuple[str, ...] = ()
    raw: bytes | None = None


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: str
    body: JsonObject
    headers: tuple[tuple[str, str], ...] = ()


Answering = Callable[[Asked], Said]

KINDS: dict[str, list[tuple[str, str]]] = {
    "/apis/carbonbudget.dev/v1alpha1": [("CarbonBudget", "carbonbudgets")],
    "/apis/batch/v1": [("Job", "jobs"), ("Job", "jobs/status"), ("CronJob", "cronjobs")],
    "/apis/apps/v1": [("Deployment", "deployments"), ("Scale", "deployments/scale")],
    "/api/v1": [("Pod", "pods"), ("Namespace", "namespaces")],
}


def status(code: int, reason: str, message: str) -> Said:
    """A refusal as the API server words it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return Said(body | {"code": code}, code)


def discovery(path: str) -> Said:
    """The kinds of a group's version, or 404."""
    if path not in KINDS:
        return status(404, "NotFound", "the server could not find the requested resource")
    resources = [{"kind": kind, "name": name, "namespaced": kind != "Namespace"} for kind, name in KINDS[path]]
    return Said({"kind": "APIResourceList", "resources": resources})


def ordinary(created: Answering) -> Answering:
    """Discovery and an installed policy; all that is written is answered by `created`."""

    def answer(asked: Asked) -> Said:
        if asked.method != "GET":
            return created(asked)
        if "/admissionregistration.k8s.io/" in asked.path:
            return Said({"kind": "ValidatingAdmissionPolicy"})
        return discovery(asked.path)

    return answer


def echo(asked: Asked) -> Said:
    """What is created comes back."""
    return Said(asked.body, 201)


@contextmanager
def api_server(answer: Answering, directory: Path, namespace: str = "") -> Iterator[Path]:
    """Runs until the end; the kubeconfig to reach it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length)  # JSON, or a file as it is
            kind = self.headers.get("Content-Type", "")
            is_json = "json" in kind or "apply-patch" in kind  # JSON is YAML
            body = json.loads(sent or b"{}") if is_json else {}
            path, _, query = self.path.partition("?")
            said = answer(Asked(self.command, path, query, body, tuple(self.headers.items())))
            raw = said.raw if said.raw is not None else json.dumps(said.body).encode()
            self.send_response(said.status)
            for warning in said.warnings:
                self.send_header("Warning", warning)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_PATCH = _serve  # noqa: N815 - the base class names them

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = FakeHttpServer(Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield kubeconfig(directory, f"http://127.0.0.1:{server.server_address[1]}", namespace)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(directory: Path, url: str, namespace: str = "") -> Path:
    """A kubeconfig of one context."""
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    value = {
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": context}],
    }  # fmt: skip
    path = directory / "kubeconfig"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path
