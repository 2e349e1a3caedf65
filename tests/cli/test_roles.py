"""The names by which commands reach the server are those of the chart's accounts, roles and Service."""

from __future__ import annotations

import re

import pytest
from tests.conftest import ROOT

from carbonbudget_operator.api_path import InvalidPath, ServicePath
from carbonbudget_operator.cli.answers_from_server import (
    AUDIENCE,
    CLOSER,
    IMPORTER,
    READER,
    SERVICE,
    SHARER,
    TOKEN_HEADER,
)
from carbonbudget_operator.ingest import proxied_caller
from carbonbudget_operator.settings import Settings

CHART = ROOT / "charts/carbonbudget/templates"
RBAC = (CHART / "rbac.yaml").read_text(encoding="utf-8")
PAGE = (ROOT / "docs/reference/rest.md").read_text(encoding="utf-8")
PATH = ServicePath("carbonbudget-system", SERVICE, 8443, "/v1/report")


def test_what_the_command_asks_for_is_what_the_roles_allow_and_the_page_says() -> None:
    accounts = re.findall(r"kind: ServiceAccount\nmetadata:\n  name: (\S+)", RBAC)
    assert {READER, CLOSER, IMPORTER, SHARER} == set(accounts)
    allowed = re.findall(r'resources: \[services/proxy\].*\n    resourceNames: \["(.*)"\]', RBAC)
    assert (
        allowed == [PATH.resource_name] * 5
    )  # those four, and carbonbudget-api, whose holders have tokens of their own
    tokens = re.findall(r"resources: \[serviceaccounts/token\].*\n    resourceNames: \[(.*)\]", RBAC)
    assert tokens == [READER, f"{READER}, {CLOSER}", f"{READER}, {IMPORTER}", f"{READER}, {SHARER}"]
    for name in (READER, CLOSER, IMPORTER, SHARER, PATH.resource_name, TOKEN_HEADER, "closedreports.carbonbudget.dev"):
        assert f"`{name}`" in PAGE or name in PAGE


def test_the_service_has_that_name_and_port() -> None:
    text = (CHART / "server.yaml").read_text(encoding="utf-8")
    assert f"kind: Service\nmetadata:\n  name: {SERVICE}\n" in text
    assert f"port: {PATH.port}," in text


def test_command_and_server_mean_the_same_header_and_audience() -> None:
    assert TOKEN_HEADER == proxied_caller.TOKEN_HEADER
    assert Settings().server.audience == AUDIENCE


def test_the_path_of_a_service_is_made_of_checked_parts() -> None:
    assert PATH.text() == (
        "/api/v1/namespaces/carbonbudget-system/services/https:carbonbudget-server:8443/proxy/v1/report"
    )
    for bad in ("", "..", "a/b", "A", "a b", "x" * 64):
        with pytest.raises(InvalidPath):
            ServicePath(bad, SERVICE, 8443, "/").text()
        with pytest.raises(InvalidPath):
            ServicePath("a", bad, 8443, "/").text()
