"""Paths of the API: built from checked parts, in one place, by nobody as text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import ROOT

from carbonbudget_operator.api_path import ApiPath, InvalidPath
from carbonbudget_operator.kube.client import ImpossibleName, KubeClient
from carbonbudget_operator.kube.credentials import Credentials

OPERATOR = ROOT / "operator" / "carbonbudget_operator"
# Text that begins so is a path of the API server.
STARTS = ("/api/", "/apis/", "/api", "/apis", "apis/", "api/")
# Our own API is /api/v1 too, as Prometheus' is, and InfluxDB's is /api/v2.
OURS = {
    "api_path.py", "public", "proxied_caller.py", "export_target_http.py", "export_settings.py",
    "server_gateway.py", "token_guard.py", "api_object_pages.py", "api_budget_reader.py", "data_page.py",
    "emissions_page.py", "grid_page.py", "budget_pages.py", "runs_page.py", "answers_from_server.py",
    "target_pages.py", "api_target_reader.py", "server_client.py", "unit_queries.py", "unit_settings.py",
}  # fmt: skip
DEPLOYMENTS = ApiPath("apps", "v1", "deployments")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (ApiPath("", "v1", "namespaces"), "/api/v1/namespaces"),
        (ApiPath("apps", "v1"), "/apis/apps/v1"),
        (ApiPath("apps", None), "/apis/apps"),
        (DEPLOYMENTS.at("team-a"), "/apis/apps/v1/namespaces/team-a/deployments"),
        (DEPLOYMENTS.at("team-a", "web.1"), "/apis/apps/v1/namespaces/team-a/deployments/web.1"),
        (DEPLOYMENTS.at("team-a", "web").sub("scale"), "/apis/apps/v1/namespaces/team-a/deployments/web/scale"),
        (DEPLOYMENTS.at("team-a", "web", "scale").collection, "/apis/apps/v1/namespaces/team-a/deployments"),
        (ApiPath.of_version("v1", "nodes").at(None, "n1"), "/api/v1/nodes/n1"),
        (ApiPath.of_version("batch/v1", "jobs"), "/apis/batch/v1/jobs"),
    ],
)
def test_a_path_is_made_of_its_parts(path: ApiPath, text: str) -> None:
    assert path.text() == str(path) == text


@pytest.mark.parametrize(
    "part", ["", ".", "..", "a/b", "a?b", "a#b", "a%2fb", "A", "a b", "a\n", "-a", "a-", "é", "a_b"]
)
def test_a_part_that_kubernetes_does_not_allow_is_refused(part: str) -> None:
    for path in (
        DEPLOYMENTS.at(part, "web"),
        DEPLOYMENTS.at("team-a", part),
        DEPLOYMENTS.at("team-a", "web", part),
        ApiPath("apps", part, "deployments"),
        *([ApiPath(part, "v1", "deployments"), ApiPath("apps", "v1", part)] if part else []),
    ):
        with pytest.raises(InvalidPath):
            path.text()


def test_a_subresource_needs_an_object_a_namespace_a_resource_and_a_resource_a_version() -> None:
    for path in (
        DEPLOYMENTS.sub("scale"),
        ApiPath("apps", "v1", namespace="team-a"),
        ApiPath("apps", None, "deployments"),
        ApiPath("", None),
    ):
        with pytest.raises(InvalidPath):
            path.text()


@given(name=st.text(max_size=300), namespace=st.text(max_size=80))
def test_whatever_the_parts_are_a_path_stays_where_it_belongs(name: str, namespace: str) -> None:
    path = DEPLOYMENTS.at(namespace, name)
    shown = str(path)
    assert shown.isascii()
    assert shown.isprintable()
    assert shown.count("/") == 7
    assert not {"?", "#"} & set(shown)
    try:
        text = path.text()
    except InvalidPath:
        return
    assert text == f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"


async def test_the_client_asks_nobody_for_what_cannot_be() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path_qs)
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        client = KubeClient.connect(Credentials(url=str(server.make_url("")).rstrip("/"), token=lambda: ""))
        forged = DEPLOYMENTS.at("team-a", "../../attack-c/deployments/victim?fieldManager=x")
        with pytest.raises(ImpossibleName) as error:
            await client.request("PATCH", forged, {})
        with pytest.raises(ImpossibleName):
            async for _ in client.list(DEPLOYMENTS.at("../x")):
                pass
        await client.close()
    assert error.value.status == 404
    assert asked == []


def texts_in(file: Path) -> Iterator[tuple[int, str]]:
    """The beginning of each text in a file's code, docstrings left out."""
    tree = ast.parse(file.read_text())
    said = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.lineno, node.value


def test_each_exception_is_a_file_that_there_is() -> None:
    assert sorted(name for name in OURS if not any(OPERATOR.rglob(name))) == []


def test_no_code_of_the_operator_writes_a_path_of_the_api_as_text() -> None:
    """A path with foreign text in it leads wherever that text says: ApiPath checks each part."""
    found = [
        f"{file.relative_to(ROOT)}:{line}: {text!r}"
        for file in sorted(OPERATOR.rglob("*.py"))
        if not OURS & {*file.relative_to(OPERATOR).parts}
        for line, text in texts_in(file)
        if text.startswith(STARTS) or "/namespaces/" in text
    ]
    assert found == []


def test_the_search_for_such_texts_finds_them(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text('"""/apis/ in a docstring."""\npath = f"/apis/apps/v1/namespaces/{space}/deployments/{name}"\n')
    assert [line for line, text in texts_in(file) if text.startswith(STARTS)] == [2]
