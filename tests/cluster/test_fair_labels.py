"""Room for the labels of pods with many of them is shared by namespaces; what was cut is read again."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.kube.test_client import client_of

from carbonbudget_operator.cluster.large_label_sets import LargeLabelSets
from carbonbudget_operator.cluster.pods import PodIndex
from carbonbudget_operator.kube.client import JsonObject, KubeError

SPARE = {f"a{n:02d}": "" for n in range(64)}
LABELS = SPARE | {"project": "x", "model": "m"}
SIZE = 400 + 66 * 150 + 64 * 3 + len("projectxmodelm")
SMALL = 400 + 150 + len("projectx")


def key(number: int) -> bytes:
    return number.to_bytes(16)


def whole(many: LargeLabelSets, numbers: range) -> set[int]:
    """Of which pods a label is known that no budget selects by."""
    return {n for n in numbers if (kept := many.find(key(n))) is not None and "a00" in kept.labels}


def a_table_row(number: int, namespace: str = "team-a", **labels: str) -> JsonObject:
    metadata = {"uid": key(number).hex(), "namespace": namespace, "name": f"pod-{number}", "labels": LABELS | labels}
    return {"metadata": metadata, "cells": {"Node": "node-1"}}


def test_a_namespace_that_fills_the_room_takes_none_from_another(caplog: pytest.LogCaptureFixture) -> None:
    """A budget that selects team-b's pods by `model` is made later."""
    selected, cut = {"project"}, Counter[str]()
    many = LargeLabelSets(lambda namespace: selected, max_bytes=8 * SIZE, on_cut=lambda: cut.update(["cut"]))
    for number in range(1_000):
        many.store(key(number), "flood-1" if number % 2 else "flood-2", LABELS)
    many.store(key(1_000), "team-b", LABELS)
    for number in range(2_000, 3_000):
        many.store(key(number), "flood-1", LABELS)
    selected.add("model")
    assert many.of(key(1_000), "team-b", SPARE)["model"] == "m"
    assert sorted(message.split()[3] for message in caplog.messages) == ["flood-1", "flood-2"]
    assert cut["cut"] >= 2_000 - 8
    assert many.used <= (1 + 4 + 4) * 8 * SIZE


def test_who_may_edit_one_namespaces_budgets_hides_no_pod_from_those_over_several() -> None:
    own = {f"k{n}": "v" * 60 for n in range(256)}
    many = LargeLabelSets(lambda namespace: {"project", *own}, lambda namespace: {"project"}, max_bytes=8 * SIZE)
    for number in range(300):
        many.store(key(number), "team-a", LABELS | own)
    assert all(many.of(key(number), "team-a", SPARE)["project"] == "x" for number in range(300))
    assert many.used <= (1 + 4 + 4) * 8 * SIZE


def test_a_pod_that_is_gone_leaves_its_room_to_others_and_late_reports_of_it_count() -> None:
    many = LargeLabelSets(lambda namespace: {"project"}, max_bytes=8 * SIZE)
    for number in range(500):
        many.store(key(number), "team-a", LABELS)
        many.end(key(number))
        many.store(key(number), "team-a", LABELS, gone=True)  # as the watch has it: with its last labels
    assert whole(many, range(500)) == set()
    for number in range(500, 508):
        many.store(key(number), f"team-{number}", LABELS)
    assert len(whole(many, range(500, 508))) == 8
    latest = range(500 - 4 * SIZE // SMALL, 500)
    assert all(many.of(key(number), "team-a", SPARE).get("project") == "x" for number in latest)
    # Those that run have their labels in any case, and those that went first give up theirs.
    for number in range(1_000, 1_000 + 4 * SIZE // SMALL):
        many.store(key(number), "team-a", LABELS)
        assert many.of(key(number), "team-a", SPARE)["project"] == "x"
    assert many.find(key(0)) is None or many.of(key(0), "team-a", SPARE).get("project") is None
    assert many.used <= (1 + 4 + 4) * 8 * SIZE


def test_a_pod_whose_end_was_missed_leaves_its_room_at_the_next_list() -> None:
    pods = PodIndex(None, CollectorRegistry(), selected=lambda namespace: {"project"})  # type: ignore[arg-type] # asks nobody
    pods.apply("LISTING", None)
    pods.apply("ADDED", a_table_row(1))
    pods.apply("LISTED", None)
    assert whole(pods._labels, range(2)) == {1}
    pods.apply("LISTING", None)
    pods.apply("LISTED", None)
    assert whole(pods._labels, range(2)) == set()
    assert pods.labels(key(1).hex(), "team-a", SPARE)["project"] == "x"


@dataclass
class Api:
    """Pods by namespace and number, and what was asked of them."""

    pods: dict[str, list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    up: bool = True
    before: Callable[[], None] = lambda: None

    async def answer(self, request: web.Request) -> web.Response:
        namespace = request.path.split("/")[4]
        only = request.query.get("fieldSelector", "")
        self.asked.append((namespace, only))
        assert "PartialObjectMetadataList" in request.headers["Accept"]
        self.before()
        if not self.up:
            return web.json_response({"message": "pods is forbidden"}, status=403)
        found = [n for n in self.pods[namespace] if not only or only == f"metadata.name=pod-{n}"]
        items = [{"metadata": a_table_row(n, namespace)["metadata"]} for n in found]
        return web.json_response({"items": items, "metadata": {}})


@dataclass
class Known:
    """What is known of the pods, and by what budgets select."""

    api: Api
    pods: PodIndex
    selected: defaultdict[str, set[str]]
    registry: CollectorRegistry

    def put(self, namespace: str, numbers: range) -> None:
        self.api.pods.setdefault(namespace, []).extend(numbers)
        for number in numbers:
            self.pods.apply("ADDED", a_table_row(number, namespace))

    def cut(self) -> float | None:
        return self.registry.get_sample_value("carbonbudget_ingest_pod_labels_cut_total")


async def with_known(test: Callable[[Known], Awaitable[None]]) -> None:
    api, registry = Api(), CollectorRegistry()
    selected: defaultdict[str, set[str]] = defaultdict(lambda: {"project"})
    async with client_of(api.answer) as client, asyncio.timeout(20):
        pods = PodIndex(
            client, registry, selected=lambda namespace: frozenset(selected[namespace]), max_label_bytes=80 * SIZE
        )
        await test(Known(api, pods, selected, registry))


async def test_what_had_no_room_is_read_again_when_there_is_some() -> None:
    async def test(known: Known) -> None:
        known.put("team-a", range(15))
        assert whole(known.pods._labels, range(15)) == set(range(10))
        assert known.cut() == 5
        await known.pods.read_labels_again()
        assert known.api.asked == []
        for number in range(3):
            known.pods.apply("DELETED", a_table_row(number))
        await known.pods.read_labels_again()
        assert sorted(known.api.asked) == [("team-a", f"metadata.name=pod-{n}") for n in (10, 11, 12, 13, 14)][:5]
        assert len(whole(known.pods._labels, range(15))) == 10
        await known.pods.read_labels_again()
        assert len(known.api.asked) == 5

    await with_known(test)


async def test_what_a_new_budget_selects_by_is_read_again_also_without_room() -> None:
    async def test(known: Known) -> None:
        known.put("team-a", range(30))
        known.put("team-b", range(100, 112))
        known.selected["team-b"].add("model")
        assert known.pods.labels(key(111).hex(), "team-b", SPARE).get("model") is None
        await known.pods.read_labels_again()
        assert {known.pods.labels(key(n).hex(), "team-b", SPARE).get("model") for n in range(100, 112)} == {"m"}
        assert {namespace for namespace, _ in known.api.asked} == {"team-b"}
        asked = len(known.api.asked)
        await known.pods.read_labels_again()
        assert len(known.api.asked) == asked

    await with_known(test)


async def test_of_many_namespaces_each_has_its_turn_and_a_round_asks_within_a_bound() -> None:
    async def test(known: Known) -> None:
        known.put("team-a", range(500))
        for team in range(40):
            known.put(f"team-{team}", range(1_000 + 100 * team, 1_050 + 100 * team))
        for namespace in known.api.pods:
            known.selected[namespace].add("model")
        await known.pods.read_labels_again()
        assert len(known.api.asked) <= 200
        assert sum(not only for _, only in known.api.asked) == 5
        assert len({namespace for namespace, _ in known.api.asked}) == 41
        for _ in range(8):
            await known.pods.read_labels_again()
        for namespace, numbers in known.api.pods.items():
            assert {known.pods.labels(key(n).hex(), namespace, SPARE).get("model") for n in numbers} == {"m"}

    await with_known(test)


async def test_a_namespace_alone_is_read_by_one_list() -> None:
    async def test(known: Known) -> None:
        known.put("team-a", range(500))
        known.selected["team-a"].add("model")
        await known.pods.read_labels_again()
        assert known.api.asked == [("team-a", "")]
        assert {known.pods.labels(key(n).hex(), "team-a", SPARE).get("model") for n in range(500)} == {"m"}

    await with_known(test)


async def test_an_event_that_came_meanwhile_stands() -> None:
    async def test(known: Known) -> None:
        known.put("team-a", range(11))
        known.selected["team-a"].add("model")
        known.api.before = lambda: known.pods.apply("MODIFIED", a_table_row(10, model="newer"))
        await known.pods.read_labels_again()
        assert known.api.asked == [("team-a", "metadata.name=pod-10")]
        assert known.pods.labels(key(10).hex(), "team-a", SPARE)["model"] == "newer"

    await with_known(test)


async def test_what_the_api_server_refuses_is_asked_again_in_the_next_round() -> None:
    async def test(known: Known) -> None:
        known.put("team-a", range(11))
        known.selected["team-a"].add("model")
        known.api.up = False
        with pytest.raises(KubeError, match="pods is forbidden"):
            await known.pods.read_labels_again()
        known.api.up = True
        await known.pods.read_labels_again()
        assert known.pods.labels(key(10).hex(), "team-a", SPARE)["model"] == "m"

    await with_known(test)


async def test_another_pod_of_the_same_name_gives_a_former_one_no_labels() -> None:
    async def test(known: Known) -> None:
        known.put("team-a", range(11))
        known.selected["team-a"].add("model")
        known.api.pods["team-a"] = []
        await known.pods.read_labels_again()
        assert known.pods.labels(key(10).hex(), "team-a", SPARE).get("model") is None

    await with_known(test)
