"""Users that a proxy states in headers: from whom they are believed, for what, and which never."""

from __future__ import annotations

import pytest
from starlette.datastructures import URL
from starlette.requests import Request

from carbonbudget_operator.ingest.connection_limits import CERTIFICATE_NAME
from carbonbudget_operator.ingest.proxied_caller import caller_stated_by_proxy
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.kube.access_reviews import Caller
from carbonbudget_operator.tls import common_name

PROXIES = {"web"}
ANN = [("x-remote-user", "ann")]


def a_request(
    headers: list[tuple[str, str]], certificate: str = "web", method: str = "GET", path: str = "/api/v1/emissions"
) -> Request:
    state = {CERTIFICATE_NAME: certificate} if certificate else {}
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return Request({"type": "http", "method": method, "path": path, "headers": raw, "state": state})


def test_a_stated_user_has_its_groups_and_nothing_else() -> None:
    headers = [*ANN, ("x-remote-group", "dev"), ("x-remote-group", "ops"), ("x-remote-extra-scopes", "all")]
    assert caller_stated_by_proxy(a_request(headers), PROXIES) == Caller("ann", "", ("dev", "ops"), {}, "")


@pytest.mark.parametrize("certificate", ["", "another", "WEB", "web "])
def test_without_the_certificate_the_token_decides(certificate: str) -> None:
    assert caller_stated_by_proxy(a_request(ANN, certificate), PROXIES) is None


def test_without_a_stated_user_the_token_decides() -> None:
    assert caller_stated_by_proxy(a_request([("x-remote-group", "dev")]), PROXIES) is None


def test_where_no_proxy_is_configured_no_header_states_a_user() -> None:
    assert caller_stated_by_proxy(a_request(ANN, ""), frozenset()) is None
    assert caller_stated_by_proxy(a_request(ANN, "web"), frozenset()) is None


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        ([*ANN, ("authorization", "Bearer x")], 400, "not both"),
        ([*ANN, ("x-carbonbudget-token", "x")], 400, "not both"),
        ([*ANN, *ANN], 400, "repeated"),
        ([("x-remote-user", "")], 400, "empty"),
        ([("x-remote-user", " ann")], 400, "empty"),
        ([("x-remote-user", "a" * 257)], 400, "too long"),
        ([("x-remote-user", "\u00e4nn")], 400, "not ASCII"),
        ([("x-remote-user", "a\x7fnn")], 400, "not ASCII"),
        ([*ANN, ("x-remote-group", "")], 400, "empty"),
        ([*ANN, *[("x-remote-group", "g")] * 101], 400, "too long"),
        ([("x-remote-user", "system:admin")], 403, "may not begin with system:"),
        ([("x-remote-user", "System:node:a")], 403, "may not begin with system:"),
        ([("x-remote-user", "system:serviceaccount:carbonbudget-agent:carbonbudget-agent")], 403, "system:"),
        ([*ANN, ("x-remote-group", "dev"), ("x-remote-group", "system:masters")], 403, "may not begin with system:"),
    ],
)
def test_what_a_proxy_may_not_state_is_refused(headers: list[tuple[str, str]], status: int, reason: str) -> None:
    with pytest.raises(Refusal) as refused:
        caller_stated_by_proxy(a_request(headers), PROXIES)
    assert (refused.value.status, reason in refused.value.reason) == (status, True)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/api/v1/emissions"), ("GET", "/metrics"), ("GET", "/v1/projection"), ("POST", "/v1/reports"),
     ("GET", "/api/v10/x")],
)  # fmt: skip
def test_a_proxy_s_user_reads_the_public_api_and_nothing_else(method: str, path: str) -> None:
    with pytest.raises(Refusal, match="alone"):
        caller_stated_by_proxy(a_request(ANN, method=method, path=path), PROXIES)


def test_the_path_that_is_routed_decides_and_not_the_url_into_which_a_host_header_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Request, "url", URL("https://x/api/v1/?/v1/projection"))
    with pytest.raises(Refusal, match="alone"):
        caller_stated_by_proxy(a_request(ANN, path="/v1/projection"), PROXIES)


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        (None, ""),
        ({}, ""),
        ({"subject": ((("commonName", "web"),),)}, "web"),
        ({"subject": ((("organizationName", "web"),),)}, ""),
        ({"subject": ((("commonName", "web"),), (("commonName", "admin"),))}, ""),
    ],
)
def test_a_certificate_s_name_is_its_one_common_name(certificate: object, name: str) -> None:
    assert common_name(certificate) == name
