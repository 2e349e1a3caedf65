"""Spans, units, progress and results go on without each other: what the server does not take of one stops no other."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from tests.client.trainings import ContractServer, train

from carbonbudget import result_polling, server_delivery
from carbonbudget.client_settings import ClientSettings
from carbonbudget.server_delivery import ServerDelivery
from carbonbudget.server_link import EndpointMissing, RequestRefused, ServerAway, ServerLink
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.public.problem_details import refusal_response

PATHS = {
    "spans": "/v1/self/spans", "units": "/v1/self/units", "progress": "/v1/self/progress", "results": "/v1/self",
}  # fmt: skip


class Training:
    """The server's part of a delivery, a link that only remembers, and a clock that only the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.asked, self.notices, self.predicted = 1_000.0, [], [], []
        self.fails: dict[str, Exception] = {}
        stopped = SimpleNamespace(monotonic=lambda: self.now_s, time=lambda: 0.0)
        for module in (server_delivery, result_polling):
            monkeypatch.setattr(module, "time", stopped)
        shown: set[str] = set()

        def notice(kind: str, text: str) -> None:
            if kind not in shown:
                self.notices.append(text)
            shown.add(kind)

        monkeypatch.setattr(server_delivery, "notice", notice)
        self.session: Any = SimpleNamespace(
            newest_progress=None, predict=lambda _, made: self.predicted.append(made), tell=lambda _: None
        )
        self.delivery = ServerDelivery(self.session, ClientSettings({}))
        self.delivery._link = SimpleNamespace(ask=self.ask)  # type: ignore[assignment] # as much of one as is used
        self.delivery.results.want(SimpleNamespace(id="a", known_result=None, name="a", end_ms=None))  # type: ignore[arg-type]

    def ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        kind = {path: kind for kind, path in PATHS.items()}[path.partition("?")[0]]
        self.asked.append(kind)
        if kind in self.fails:
            raise self.fails[kind]
        return {}

    def turn(self, after_s: float = 0.0, asked: bool = False) -> list[str]:
        """What is asked in a turn in which there is something of every kind."""
        self.now_s += after_s
        self.session.newest_progress = (None, {"done": 1})
        for kind in ("spans", "units"):
            self.delivery.outgoing[kind].add(None, "{}")
        self.asked = []
        self.delivery.turn(asked)
        return self.asked


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Training:
    return Training(monkeypatch)


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize(
    "error", [ServerAway("HTTP 429", 400.0, answered=True), EndpointMissing("HTTP 404"), RequestRefused("HTTP 422")]
)
def test_an_answer_to_one_kind_stops_no_other(training: Training, kind: str, error: Exception) -> None:
    training.fails = {kind: error}
    assert training.turn(after_s=31) == list(PATHS)
    training.fails = {}
    waiting = [] if isinstance(error, RequestRefused) else [kind]
    assert training.turn(after_s=31) == [one for one in PATHS if one not in waiting]


def test_a_server_that_does_not_answer_is_asked_once_a_turn(training: Training) -> None:
    training.fails = dict.fromkeys(PATHS, ServerAway("timed out"))
    assert training.turn(after_s=31) == ["spans"]
    assert training.predicted == [None]
    assert training.turn() == []  # our own pause, of all kinds
    assert training.turn(asked=True) == ["spans"]  # who waits for a flush does not wait for that
    training.fails = {}
    assert training.turn(after_s=301) == list(PATHS)
    assert training.delivery.empty


def test_the_pause_that_the_server_asks_for_is_of_its_kind_and_holds_for_a_flush(training: Training) -> None:
    training.fails = {"units": ServerAway("HTTP 429", 500.0, answered=True)}
    training.turn(after_s=31)
    training.fails = {}
    assert "units" not in training.turn(after_s=499, asked=True)
    assert training.turn(after_s=2, asked=True) == ["spans", "units"]  # the others were asked for a moment ago
    assert training.delivery.outgoing["units"].dropped == 0
    assert training.delivery.empty


@pytest.mark.parametrize("kind", PATHS)
def test_what_the_server_does_not_have_is_dropped_with_one_line_and_asked_for_again_each_hour(
    training: Training, kind: str
) -> None:
    training.fails = {kind: EndpointMissing("HTTP 404: Not Found")}
    training.turn(after_s=31)
    for _ in range(3):
        assert kind not in training.turn(after_s=1_100, asked=True)
        assert training.delivery.empty
        assert training.session.newest_progress is None
    assert kind in training.turn(after_s=301, asked=True)
    assert training.notices == [
        f"the server does not have /v1/self for {kind}: upgrade it, or correct CARBONBUDGET_SERVER_URL; "
        "until then they are dropped, and the server is asked again each hour"
    ]
    if kind in training.delivery.outgoing:
        assert training.delivery.outgoing[kind].dropped == 5
    training.fails = {}
    assert kind in training.turn(after_s=3_601)
    assert training.delivery.due_s() > training.now_s


def test_units_that_the_server_limits_stop_neither_progress_nor_results(server: ContractServer) -> None:
    server.set(mode="429", only="/v1/self/units", prediction={})
    ended = train(
        """
        import carbonbudget as cb
        cb.units(inferences=1)
        cb.progress(1, 10)
        with cb.track("a") as span: pass
        print(span.result(wait=20) is not None)
        """,
        **server.variables,
    )
    assert ended.output == "True\n", ended.errors
    seen = server.seen()
    assert (len(seen["spans"]), seen["units"], len(seen["progress"])) == (1, [], 1)
    assert "HTTP 429: too many" in ended.errors


FLUSH = """
    import carbonbudget as cb
    cb.units(inferences=1)
    with cb.track("a"): pass
    print(cb.flush(5))
    """


def test_an_earlier_server_without_units_gets_the_spans(server: ContractServer) -> None:
    server.set(mode="no endpoint", only="/v1/self/units")
    ended = train(FLUSH, **server.variables)
    assert ended.output == "True\n", ended.errors
    assert "the server does not have /v1/self for units" in ended.errors
    assert len(server.spans()) == 1


def test_a_404_of_a_proxy_drops_nothing(server: ContractServer) -> None:
    server.set(mode="404 of a proxy")
    ended = train(FLUSH, **server.variables)
    assert ended.output == "False\n", ended.errors
    assert "dropped" not in ended.errors


def test_why_a_request_was_refused_is_shown_in_the_servers_words(server: ContractServer) -> None:
    server.set(mode="422", text="spans: too many")
    assert "HTTP 422: spans: too many" in train(FLUSH, **server.variables).errors


@pytest.mark.parametrize("mode", ["503", "429", "500", "403", "404", "422", "413", "good"])
def test_the_test_server_refuses_in_the_form_of_the_real_one(server: ContractServer, mode: str) -> None:
    server.set(mode=mode, token="another")
    asked = urllib.request.Request(f"http://127.0.0.1:{server.port}/v1/self/spans", data=b'{"spans": [1]}')
    with pytest.raises(urllib.error.HTTPError) as answer:
        urllib.request.urlopen(asked, timeout=10)
    assert answer.value.code == (401 if mode == "good" else int(mode))
    said = json.load(answer.value)
    refusal = Refusal(answer.value.code, "kind", said["reason"])
    real = refusal_response(Request({"type": "http", "path": "/v1/self/spans"}), refusal)
    assert said == json.loads(bytes(real.body))


def test_an_address_without_a_port_has_that_of_its_scheme() -> None:
    for url, host, port in (
        ("https://[fd00::1]", "fd00::1", 443), ("https://[fd00::1]:8443", "fd00::1", 8443),
        ("http://[::1]", "::1", 80), ("https://server", "server", 443), ("https://10.0.0.1:1", "10.0.0.1", 1),
    ):  # fmt: skip
        connection = ServerLink(ClientSettings({"CARBONBUDGET_SERVER_URL": url}))._new_connection()
        assert (connection.host, connection.port) == (host, port)
