"""The certificate that a process serves: followed on disk, and told with its end, by real TLS contexts."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.controller.api_server import eventually

from carbonbudget_operator import tls
from carbonbudget_operator.controller.certificates import CertificatePair, make_ca, make_leaf
from carbonbudget_operator.tls import follow_certificate, served_until, server_context

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
LIFE = dt.timedelta(days=90)
NAMES = ["carbonbudget-server.system.svc", "carbonbudget-server"]
METRIC = "carbonbudget_certificate_expiration_timestamp_seconds"


class Files:
    """A mounted Secret."""

    def __init__(self, directory: Path) -> None:
        self.cert, self.key = directory / "tls.crt", directory / "tls.key"

    def put(self, made_at: dt.datetime, names: list[str] = NAMES, chain: bool = False) -> None:
        ca = make_ca(made_at)
        leaf = make_leaf(ca, names, made_at)
        self.write(CertificatePair(leaf.certificate + (ca.certificate if chain else ""), leaf.key))

    def write(self, pair: CertificatePair) -> None:
        self.cert.write_text(pair.certificate)
        self.key.write_text(pair.key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.put(NOW)
    return made


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carbonbudget_operator.tls._CHECK_SECONDS", 0.01)


@asynccontextmanager
async def followed(files: Files) -> AsyncIterator[tuple[ssl.SSLContext, CollectorRegistry]]:
    registry = CollectorRegistry()
    context = server_context(files.cert, files.key)
    following = asyncio.create_task(follow_certificate(context, files.cert, files.key, registry))
    try:
        yield context, registry
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following


def told(registry: CollectorRegistry, name: str = NAMES[0]) -> float | None:
    return registry.get_sample_value(METRIC, {"name": name})


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is awaited sets no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("chain", [False, True], ids=["alone", "with its CA's"])
@pytest.mark.parametrize("made_at", [NOW, NOW - 2 * LIFE], ids=["valid", "expired"])
def test_what_a_context_serves_is_told_by_its_first_name_and_its_end(
    files: Files, made_at: dt.datetime, chain: bool
) -> None:
    files.put(made_at, chain=chain)
    until_s = int((made_at + LIFE).timestamp())
    assert served_until(server_context(files.cert, files.key), files.cert) == (NAMES[0], until_s)


def test_a_file_that_is_not_what_is_served_is_no_answer(files: Files) -> None:
    context = server_context(files.cert, files.key)
    files.put(NOW)
    with pytest.raises(ssl.SSLError):
        served_until(context, files.cert)


async def test_a_renewed_certificate_moves_the_metric(files: Files) -> None:
    files.put(NOW - dt.timedelta(days=60))
    async with followed(files) as (_, registry):
        await until(lambda: told(registry) == (NOW + dt.timedelta(days=30)).timestamp())
        files.put(NOW, ["renamed.system.svc"])
        await until(lambda: told(registry, "renamed.system.svc") == (NOW + LIFE).timestamp())
        assert told(registry) is None


@pytest.mark.parametrize("broken", ["no certificate", "another's key"])
async def test_of_a_broken_pair_the_former_stays_in_use_and_in_the_metric(
    files: Files, tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    former = tmp_path / "former.crt"
    former.write_text(files.cert.read_text())
    async with followed(files) as (context, registry):
        await until(lambda: told(registry))
        ca = make_ca(NOW)
        another = make_leaf(ca, NAMES, NOW).certificate if broken == "another's key" else "junk"
        files.cert.write_text(another)
        await until(lambda: "the previous one stays in use" in caplog.text)
        assert served_until(context, former) == (NAMES[0], (NOW + LIFE).timestamp())
        assert told(registry) == (NOW + LIFE).timestamp()


async def test_a_ca_of_clients_that_appears_later_is_trusted_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "_CHECK_SECONDS", 0.01)
    context, ca = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tmp_path / "clients.crt"
    following = asyncio.create_task(tls.follow_client_ca(context, ca))
    try:
        await eventually(lambda: "cannot be read" in caplog.text)
        assert (context.verify_mode, context.get_ca_certs()) == (ssl.CERT_OPTIONAL, [])
        ca.write_text("no certificate")
        await eventually(lambda: "cannot be loaded" in caplog.text)
        ca.write_text(make_ca(dt.datetime.now(dt.UTC)).certificate)
        await eventually(lambda: len(context.get_ca_certs()) == 1)
        assert caplog.text.count("cannot be read") == 1
    finally:
        following.cancel()


def test_a_handshake_makes_no_session_tickets(files: Files) -> None:
    """Who posts over new connections pays for each; nobody resumes a session."""
    client = ssl.create_default_context(cafile=str(files.cert))
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    asks = client.wrap_bio(back, there, server_hostname=NAMES[0])
    answers = server_context(files.cert, files.key).wrap_bio(there, back, server_side=True)
    for side in (asks, answers) * 3:
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()
    answers.write(b"answered")
    assert asks.read(100) == b"answered"  # tickets come before it
    assert asks.version() == "TLSv1.3"
    assert asks.session is None or not asks.session.has_ticket
