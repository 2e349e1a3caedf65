"""What the watches of targets show: bounded, without what was deleted, and again after they fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.controller.target_bench import SPEC

from carbonbudget_operator.api.wire_names import CLUSTER_TARGET, TARGET
from carbonbudget_operator.controller.prepared_target import InvalidTarget, prepare_target
from carbonbudget_operator.controller.target_store import TARGET_TOO_LARGE, TARGETS_CROWDED, TargetStore
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.namespace_labels import Namespaces


def body(name: str, uid: str = "", generation: int = 1, **more: object) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team-a", "uid": uid or name, "generation": generation}
    return {"metadata": metadata | {"creationTimestamp": "2026-11-01T12:00:00Z"}, "spec": dict(SPEC), **more}


@pytest.fixture
def store() -> TargetStore:
    return TargetStore()


def keys(store: TargetStore) -> list[str]:
    return sorted(store.snapshot())


def test_a_new_generation_is_a_change_and_our_own_write_is_none(store: TargetStore) -> None:
    store.seen(TARGET, "ADDED", body("a"))
    assert store.changed.is_set()
    store.changed.clear()
    store.seen(TARGET, "MODIFIED", body("a", status={"state": "OnTrack"}))
    assert not store.changed.is_set()
    store.seen(TARGET, "MODIFIED", body("a", generation=2))
    assert store.changed.is_set()


def test_the_end_of_an_earlier_target_does_not_remove_the_one_that_took_its_name(store: TargetStore) -> None:
    store.seen(TARGET, "ADDED", body("a", uid="new"))
    store.seen(TARGET, "DELETED", body("a", uid="old"))
    assert keys(store) == ["team-a/a"]
    store.seen(TARGET, "DELETED", body("a", uid="new"))
    assert keys(store) == []


def test_a_target_that_is_too_large_is_kept_without_its_spec_and_says_so(store: TargetStore) -> None:
    large = body("a")
    large["spec"] |= {"x": "y" * 2**21}
    store.seen(TARGET, "ADDED", large)
    with pytest.raises(InvalidTarget, match=TARGET_TOO_LARGE):
        prepare_target(store.snapshot()["team-a/a"], Namespaces(), 0)


def test_the_targets_of_one_namespace_have_a_limit_and_of_others_are_not_affected(store: TargetStore) -> None:
    for number in range(6):
        big = body(f"t{number}")
        big["spec"] |= {"x": "y" * (2**20 - 2000)}
        store.seen(TARGET, "ADDED", big)
    reasons = [one.missing_spec_reason for one in store.snapshot().values()]
    assert sorted(set(reasons)) == ["", TARGETS_CROWDED]
    other = body("own")
    other["metadata"]["namespace"] = "team-b"
    store.seen(TARGET, "ADDED", other)
    assert store.snapshot()["team-b/own"].missing_spec_reason == ""
    store.forget("team-a/t0", "t0")  # room for a smaller one
    store.seen(TARGET, "MODIFIED", body("t5", generation=2))
    assert store.snapshot()["team-a/t5"].missing_spec_reason == ""


class Api:
    """Lists what it has, and ends each watch when told to."""

    def __init__(self) -> None:
        self.objects = [body("a"), body("b")]
        self.lists = 0
        self.ended = asyncio.Event()
        self.gone = False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "clustercarbontargets" in request.path:
            return web.json_response({"message": "no such kind"}, status=404)
        if "watch" not in request.query:
            self.lists += 1
            return web.json_response({"items": self.objects, "metadata": {"resourceVersion": str(self.lists)}})
        response = web.StreamResponse()
        await response.prepare(request)
        await self.ended.wait()
        self.ended.clear()
        gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
        await response.write(json.dumps(gone).encode() + b"\n")
        return response


@pytest.fixture
async def api() -> AsyncIterator[tuple[Api, KubeClient]]:
    made, app = Api(), web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    async with TestServer(app) as server:
        client = KubeClient.connect(Credentials(str(server.make_url("")).rstrip("/"), lambda: ""))
        yield made, client
        await client.close()


async def until(store: TargetStore, wanted: list[str]) -> None:
    while keys(store) != wanted:
        store.changed.clear()
        try:
            await asyncio.wait_for(store.changed.wait(), 0.05)
        except TimeoutError:
            continue


async def test_what_was_deleted_while_the_watch_was_away_is_removed_and_the_other_kind_may_be_missing(
    store: TargetStore, api: tuple[Api, KubeClient]
) -> None:
    played, client = api
    watching = asyncio.create_task(store.run(client))
    try:
        async with asyncio.timeout(20):
            await until(store, ["team-a/a", "team-a/b"])
            assert not store.listed()  # the cluster has no ClusterCarbonTargets: an upgrade without the CRDs
            played.objects = [body("b"), body("c")]
            played.ended.set()
            await until(store, ["team-a/b", "team-a/c"])
            # The age of each watch is exported: an alert goes by it.
            assert set(client.watches.current_at()) == {str(TARGET.collection), str(CLUSTER_TARGET.collection)}
    finally:
        watching.cancel()
        await asyncio.wait([watching])
