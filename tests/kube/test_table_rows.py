"""A watch of tables: objects with their metadata and their row's cells."""

from __future__ import annotations

from contextlib import aclosing

from aiohttp import web
from tests.kube.test_client import client_of, stream

from carbonbudget_operator.api_path import ApiPath

COLUMNS = [{"name": "Name"}, {"name": "Node"}]


def table(version: str, *rows: tuple[str, str], columns: list[dict[str, str]] | None = None) -> dict[str, object]:
    its = [{"cells": list(row), "object": {"metadata": {"name": row[0], "uid": f"u-{row[0]}"}}} for row in rows]
    return {"kind": "Table", "metadata": {"resourceVersion": version}, "columnDefinitions": columns, "rows": its}


async def test_a_watch_of_tables_gives_metadata_and_cells_and_goes_on_where_it_was() -> None:
    """A bookmark's row is of no object, and columns are named in a watch's first event alone."""
    asked: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Accept"] == "application/json;as=Table;g=meta.k8s.io;v=v1"
        asked.append(dict(request.query))
        if "watch" not in request.query:
            return web.json_response(table("5", ("a", "n1"), columns=COLUMNS))
        if len(asked) > 2:
            return await stream(request, {"type": "DELETED", "object": table("9", ("b", "n2"))})
        return await stream(
            request,
            {"type": "ADDED", "object": table("6", ("b", "<none>"), columns=COLUMNS)},
            {"type": "MODIFIED", "object": table("7", ("b", "n2"))},
            {"type": "BOOKMARK", "object": table("8", ("", ""))},
        )

    found: list[tuple[str, object, object]] = []
    async with client_of(answer) as client, aclosing(client.watch(ApiPath("", "v1", "pods"), as_table=True)) as events:
        async for event, item in events:
            metadata, cells = (item["metadata"], item["cells"]) if item else ({}, {})
            assert isinstance(metadata, dict)
            assert isinstance(cells, dict)
            found.append((event, metadata.get("uid"), cells.get("Node")))
            if event == "DELETED":
                break
    assert found == [
        ("LISTING", None, None),
        ("ADDED", "u-a", "n1"),
        ("LISTED", None, None),
        ("ADDED", "u-b", "<none>"),
        ("MODIFIED", "u-b", "n2"),
        ("DELETED", "u-b", "n2"),
    ]
    assert [query.get("resourceVersion") for query in asked] == [None, "5", "8"]
    assert {query["includeObject"] for query in asked} == {"Metadata"}
