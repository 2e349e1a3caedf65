"""What tenants are told of a failure is its class; addresses and the words of others are for the log."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from prometheus_client import CollectorRegistry
from tests.ledger.reports import a_report
from tests.server.server_face import a_face

from carbonbudget_operator.controller.metrics import ControllerMetrics
from carbonbudget_operator.controller.query_sender import QuerySender
from carbonbudget_operator.kube.access_reviews import Access, AccessUnavailable, Caller
from carbonbudget_operator.kube.client import KubeClient, KubeError
from carbonbudget_operator.ledger.ledger_engine import LedgerError
from carbonbudget_operator.server import ledger_refusal
from carbonbudget_operator.server.ledger_refusal import ledger_away
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

PLACE = "postgresql://carbonbudget@db.internal:5432/ledger"


def a_client(url: str) -> ServerClient:
    made = ServerClient(url, None, lambda: "")
    made._tls = lambda: False  # type: ignore[method-assign,assignment,return-value] # plain HTTP on loopback
    return made


async def refused(_: web.Request) -> web.Response:
    return web.json_response({"reason": f"ledger {PLACE}: connection refused"}, status=503)


async def test_a_status_names_the_class_of_the_servers_failure_and_the_log_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refused)
    port = unused_port()
    async with TestServer(app) as answering:
        for url, told, word in (
            (str(answering.make_url("")), "the server answered 503: see the controller's log", "db.internal"),
            (f"http://127.0.0.1:{port}", "the server does not answer: see the controller's log", str(port)),
        ):
            caplog.clear()
            with pytest.raises(ServerUnavailable) as raised:
                await a_client(url).targets([])
            assert raised.value.told == told
            assert word in str(raised.value)
            sender = QuerySender(a_client(url), ControllerMetrics(CollectorRegistry()), 0)
            with caplog.at_level(logging.WARNING):
                answers = await sender.ask([])
            assert (answers.reason, answers.sentence) == ("ServerUnavailable", told)
            assert word in caplog.text


def test_whoever_asks_while_the_ledger_is_away_is_not_told_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    ledger_refusal._lines.__init__(1)  # type: ignore[misc] # another test may have used this second's line
    with caplog.at_level(logging.WARNING):
        refusal = ledger_away(LedgerError(f"ledger {PLACE}: connection refused"))
    assert (refusal.status, refusal.kind, refusal.retry_after_s) == (503, "ledger", 10)
    assert refusal.reason == "the ledger does not answer: try again later; the server's log says why"
    assert PLACE in caplog.text


class AwayApi:
    """An API server that cannot be reached, or that answers with its own words."""

    def __init__(self, status: int) -> None:
        self.status = status

    async def request(self, *_: Any, **__: Any) -> Any:
        raise KubeError(self.status, "POST https://10.96.0.1:443/apis: Cannot connect to host 10.96.0.1:443")


@pytest.mark.parametrize(("status", "told"), [(0, "does not answer"), (500, "answered 500")])
async def test_a_caller_that_cannot_be_reviewed_is_not_told_where_the_api_server_is(
    status: int, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    access = Access(cast("KubeClient", AwayApi(status)), "carbonbudget")
    with caplog.at_level(logging.WARNING), pytest.raises(AccessUnavailable) as raised:
        await access.may_read_budgets(Caller("ada", "", (), {}, ""), "team-a")
    assert str(raised.value) == f"the caller cannot be reviewed: the API server {told}; try again"
    assert "10.96.0.1" in caplog.text


async def test_an_address_with_many_invalid_tokens_is_told_when_to_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carbonbudget_operator.kube.review_turns._MOST_REFUSED", 2)
    async with a_face(f"sqlite:///{tmp_path}/ledger.db") as face:
        assert (await face.report(a_report())).status_code == 200
        answers = [await face.report(a_report(), token=f"junk-{number}") for number in range(3)]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
        assert "invalid tokens" in answers[-1].json()["reason"]
        assert (await face.report(a_report())).status_code == 200  # its token is known
