"""Whom a store's token is sent to: the store of the settings, over TLS by its own CA, and nobody else."""

from __future__ import annotations

import datetime as dt
import ssl
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.server.answering_store import a_store, text_answer
from tests.server.stored_metrics import full_hour_ago
from tests.server.unit_polling import HOUR, Polling

from carbonbudget_operator.controller.certificates import CertificatePair, make_ca, make_leaf

FIRST = full_hour_ago(10)
NOW = FIRST + HOUR + 300
EMPTY = b'{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":["PromQL info: x"]}'
SCRAPED = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"60"]}]}}'


def nothing_counted(handler: BaseHTTPRequestHandler) -> None:
    """No series, while samples came all the time."""
    text_answer(200, SCRAPED if b"count_over_time" in handler.body.encode() else EMPTY)(handler)  # type: ignore[attr-defined]


@pytest.fixture
def token(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("secret\n")
    return tmp_path / "token"


async def test_a_token_and_a_tenant_are_sent_and_a_missing_token_is_told(engine: sa.Engine, tmp_path: Path) -> None:
    token = tmp_path / "later"
    with a_store(nothing_counted) as store:
        polling = Polling(
            engine, f"{store.url}/prefix/", token_file=str(token), tenant="org-1", headers={"X-More": "yes"}
        )
        polling.want(FIRST, NOW, "team-a")
        with pytest.raises(Exception, match="no token or password"):
            await polling.poller.step(NOW)
        token.write_text("secret\n")
        assert await polling.poller.step(NOW + 600) == 1
        await polling.poller.close()
    sent = [
        (path, *(head[name] for name in ("Authorization", "X-Scope-OrgID", "X-More")))
        for path, head, _ in store.requests
    ]
    assert sent == [("/prefix/api/v1/query", "Bearer secret", "org-1", "yes")] * 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("is_same_host", [True, False])
async def test_a_redirect_is_not_followed_and_the_token_reaches_nobody_else(
    engine: sa.Engine, token: Path, status: int, is_same_host: bool
) -> None:
    with a_store(nothing_counted) as other:
        host = other.url if is_same_host else other.url.replace("localhost", "127.0.0.1")
        with a_store(text_answer(status, b"", {"Location": f"{host}/api/v1/query"})) as store:
            polling = Polling(engine, store.url, token_file=str(token), timeout_seconds=60)
            polling.want(FIRST, NOW, "team-a")
            with pytest.raises(Exception, match=f"answers {status}; check units.url"):
                await polling.poller.step(NOW)
            await polling.poller.close()
            assert store.requests[0][1]["Authorization"] == "Bearer secret"
        assert other.requests == []
    assert polling.hours("team-a", FIRST, FIRST + HOUR).states == {FIRST: "failed"}


def a_context(directory: Path, ca: CertificatePair, name: str = "localhost") -> ssl.SSLContext:
    leaf = make_leaf(ca, [name], dt.datetime.now(dt.UTC))
    (directory / "leaf").write_text(leaf.certificate)
    (directory / "leaf-key").write_text(leaf.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "leaf", directory / "leaf-key")
    return context


@pytest.mark.parametrize("fault", ["none", "another CA", "the system's CAs", "another name", "no CA", "no file"])
async def test_a_store_with_a_certificate_of_another_ca_or_name_gets_no_token(
    engine: sa.Engine, tmp_path: Path, token: Path, fault: str
) -> None:
    its, another = (make_ca(dt.datetime.now(dt.UTC)) for _ in range(2))
    ca = tmp_path / "ca.crt"
    if fault != "no file":
        ca.write_text({"another CA": another.certificate, "no CA": "no PEM\n"}.get(fault, its.certificate))
    name = "prometheus.monitoring" if fault == "another name" else "localhost"
    with a_store(nothing_counted, a_context(tmp_path, its, name)) as store:
        given = {} if fault == "the system's CAs" else {"ca": str(ca)}
        polling = Polling(engine, store.url, token_file=str(token), timeout_seconds=60, **given)
        polling.want(FIRST, NOW, "team-a")
        if fault == "none":
            assert await polling.poller.step(NOW) == 1
            assert store.requests[0][1]["Authorization"] == "Bearer secret"
        else:
            words = "has no CA certificates" if fault in ("no CA", "no file") else "CERTIFICATE_VERIFY_FAILED"
            with pytest.raises(Exception, match=words):
                await polling.poller.step(NOW)
            assert store.requests == []
            assert polling.hours("team-a", FIRST, FIRST + HOUR).states == {FIRST: "failed"}
        await polling.poller.close()
