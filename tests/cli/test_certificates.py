"""Commands over TLS: a CA that is another one, a certificate for another name, and what to write then."""

from __future__ import annotations

import base64
import datetime as dt
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.cli.bad_world import FIGURES, PLUGIN, Run, World, assert_refused
from tests.cli.bad_world import run as run
from tests.cli.bad_world import world as world
from tests.fake_http_server import FakeHttpServer

from carbonbudget_operator.controller.certificates import make_ca, make_leaf

NAME = "carbonbudget-server.carbonbudget-system.svc"
ALLOCATION = {"rows": [], "total": {"energy_kwh": "0", "location_g": "0", "market_g": "0", "embodied_g": "0"}}


class Tls:
    """A server that answers everything with an allocation."""

    def __init__(self, directory: Path) -> None:
        ca, now = make_ca(dt.datetime.now(dt.UTC)), dt.datetime.now(dt.UTC)
        leaf = make_leaf(ca, [NAME], now)
        (directory / "own-ca").write_text(ca.certificate)
        (directory / "leaf").write_text(leaf.certificate)
        (directory / "leaf-key").write_text(leaf.key)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(ALLOCATION).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "leaf", directory / "leaf-key")
        self.server = FakeHttpServer(Handler)
        # In the handler's thread: whoever goes away in the handshake ends no other.
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://localhost:{self.server.server_address[1]}"


@pytest.fixture
def tls(world: World) -> Iterator[Tls]:
    made = Tls(world.directory)
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def kubeconfig(world: World, url: str, ca: str) -> None:
    data = base64.b64encode((world.directory / ca).read_bytes()).decode()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority-data": data}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    (world.directory / "kubeconfig").write_text(json.dumps(config))


@pytest.mark.parametrize("ca", ["other-ca", "own-ca"])
@pytest.mark.parametrize(
    ("program", "args"),
    [*(("carbonbudget", args) for args in FIGURES.values()), *(("kubectl carbon", args) for args in PLUGIN.values())],
    ids=[*FIGURES, *PLUGIN],
)
def test_an_api_server_with_another_ca_or_name_is_not_asked(
    run: Run, world: World, tls: Tls, program: str, args: list[str], ca: str
) -> None:
    kubeconfig(world, tls.url, ca)
    assert_refused(run([*args, "--kubeconfig", "{kubeconfig}"], program), "certificate verify failed")


@pytest.mark.parametrize("name", FIGURES)
def test_a_server_at_a_url_with_another_ca_or_name_is_not_asked_and_the_option_is_named(
    run: Run, tls: Tls, name: str
) -> None:
    url = ["--server-url", tls.url]
    assert_refused(run([*FIGURES[name], *url]), "--server-ca names its CA")
    assert_refused(run([*FIGURES[name], *url, "--server-ca", "{directory}/../other-ca"]), "--server-ca names its CA")
    assert_refused(run([*FIGURES[name], *url, "--server-ca", "{directory}/../own-ca"]), "--server-name carbonbudget-s")


def test_behind_a_port_forward_the_name_of_the_certificate_is_given(run: Run, tls: Tls) -> None:
    asked = [*FIGURES["allocate"], "--server-url", tls.url, "--server-ca", "{directory}/../own-ca"]
    done = run([*asked, "--server-name", NAME])
    assert (done.code, "total" in done.out) == (0, True), done.err
    assert run([*asked, "--server-name", f"x{NAME}"]).code == 1
