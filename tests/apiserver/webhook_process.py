"""`carbonbudget admission` in a process of its own on this machine, and the server's projection endpoint for it."""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import http.server
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml
from tests.conftest import ENDS_WITH_US, Cluster
from tests.e2e.conftest import wait_for
from tests.fake_http_server import FakeHttpServer

from carbonbudget_operator.controller.certificates import make_ca, make_leaf


class Webhook:
    """`carbonbudget admission` on this machine; `kinds` are the configured kinds of enforcement.kinds."""

    def __init__(
        self,
        cluster: Cluster,
        directory: Path,
        kinds: list[dict[str, str]],
        arguments: tuple[str, ...],
        tracks_pods: bool = False,
    ) -> None:
        self._cluster, self._directory, self._kinds, self._arguments = cluster, directory, kinds, arguments
        self._tracks_pods = tracks_pods
        self.port, self.metrics_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}"
        now = dt.datetime.now(dt.UTC)
        ca = make_ca(now)
        leaf = make_leaf(ca, ["localhost"], now)
        self.ca, self.cert, self.key = (directory / name for name in ("ca.crt", "tls.crt", "tls.key"))
        for path, text in ((self.ca, ca.certificate), (self.cert, leaf.certificate), (self.key, leaf.key)):
            path.write_text(text)
        self.ca_bundle = base64.b64encode(ca.certificate.encode()).decode()
        self.space = ""  # a namespace that its server knows of, where there is one
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it has its lists."""
        settings = {"enforcement": {"kinds": self._kinds}, "admission": {"track_pods": self._tracks_pods}}
        (self._directory / "config.yaml").write_text(yaml.safe_dump(settings))
        command = [
            *ENDS_WITH_US, str(Path(sys.executable).parent / "carbonbudget"), "admission",
            f"--config={self._directory / 'config.yaml'}", f"--listen=127.0.0.1:{self.port}",
            f"--metrics-listen=127.0.0.1:{self.metrics_port}", f"--tls-cert={self.cert}", f"--tls-key={self.key}",
            *self._arguments,
        ]  # fmt: skip
        with (self._directory / "webhook.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=self._cluster.environment, stdout=log, stderr=log)
        context = ssl.create_default_context(cafile=str(self.ca))

        def ready() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, (self._directory / "webhook.log").read_text()[-2000:]
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=2, context=context)
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            except OSError:
                return False
            finally:
                connection.close()

        wait_for("the webhook", ready, 60)

    def stop(self) -> None:
        """End it, if it still runs."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    def figure(self, name: str) -> float:
        """One series of its metrics, with its labels as they are written."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} ")), 0.0)


@contextmanager
def a_server(directory: Path, projection: Mapping[str, object]) -> Iterator[list[str]]:
    """The server's projection endpoint over TLS; yields the webhook's arguments to reach it."""
    now = dt.datetime.now(dt.UTC)
    ca = make_ca(now)
    leaf = make_leaf(ca, ["localhost"], now)
    names = {"server-ca.crt": ca.certificate, "server.crt": leaf.certificate, "server.key": leaf.key, "token": "t"}
    for name, text in names.items():
        (directory / name).write_text(text)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(projection).encode()
            fine = self.path == "/v1/projection" and self.headers["Authorization"] == "Bearer t"
            self.send_response(200 if fine else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = FakeHttpServer(Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield [
            f"--server-url=https://localhost:{server.server_port}",
            f"--server-ca={directory / 'server-ca.crt'}",
            f"--server-token-file={directory / 'token'}",
        ]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
