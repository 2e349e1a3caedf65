"""The patch of pods with a run label: applied once it adds, applied again it adds nothing, and it replaces nothing."""

from __future__ import annotations

import base64
import copy
import io
import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tests.admission.given import Bench, a_review, an_object
from tests.apiserver.tracked_pods import CHANGED, LEFT, PATH

from carbonbudget_operator.admission.admission_events import AdmissionEvents
from carbonbudget_operator.admission.app import make_app
from carbonbudget_operator.admission.metrics import AdmissionMetrics
from carbonbudget_operator.admission.tracking_handler import CaFile, TrackingHandler
from carbonbudget_operator.admission.tracking_patch import MOST_CA_CHARACTERS, tracking_patch

URL, CA = "https://carbonbudget-server.carbonbudget-system.svc:8443", "PEM\n"
NAMES = st.sampled_from(["A", "CARBONBUDGET_RUN", "CARBONBUDGET_CA", "CARBONBUDGET_CA_FILE", "CARBONBUDGET_TOKEN_FILE"])
PATHS = st.sampled_from(["/data", "/var/run", "/run/secrets/", PATH, f"{PATH}/", f"{PATH}/x", f"{PATH}x"])
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.uuids().map(str)},
        optional={
            "env": st.lists(st.fixed_dictionaries({"name": NAMES, "value": st.just("own")}), max_size=3),
            "volumeMounts": st.lists(st.fixed_dictionaries({"name": st.just("v"), "mountPath": PATHS}), max_size=2),
        },
    ),
    max_size=3,
)
LABELS = st.fixed_dictionaries(
    {"carbonbudget.dev/run": st.sampled_from(["", "exp-42"])},
    optional={"carbonbudget.dev/model": st.sampled_from(["", "net"]), "carbonbudget.dev/model-version": st.just("2")},
)
VOLUMES = st.lists(st.sampled_from([{"name": "v"}, {"name": "carbonbudget-token"}]), max_size=2)
PODS = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries({"labels": LABELS}),
        "spec": st.fixed_dictionaries(
            {"containers": CONTAINERS}, optional={"initContainers": CONTAINERS, "volumes": VOLUMES}
        ),
    }
)
Pod = dict[str, Any]


def applied(pod: Pod, patch: list[dict[str, Any]]) -> Pod:
    """The pod after a patch that only adds."""
    made = copy.deepcopy(pod)
    for operation in patch:
        assert operation["op"] == "add"
        *way, last = operation["path"].removeprefix("/").split("/")
        holder: Any = made
        for step in way:
            holder = holder[int(step)] if isinstance(holder, list) else holder[step]
        if isinstance(holder, list):
            assert last == "-"
            holder.append(operation["value"])
        else:
            assert not holder.get(last)  # replaces no list that has something
            holder[last] = copy.deepcopy(operation["value"])
    return made


@given(PODS)
def test_a_second_patch_is_empty(pod: Pod) -> None:
    once = applied(pod, tracking_patch(pod, URL, CA))
    assert tracking_patch(once, URL, CA) == []


@given(PODS)
def test_what_was_there_is_there_in_its_place(pod: Pod) -> None:
    after = applied(pod, tracking_patch(pod, URL, CA))
    assert after["metadata"] == pod["metadata"]
    for kind in ("containers", "initContainers"):
        for old, new in zip(pod["spec"].get(kind, []), after["spec"].get(kind, []), strict=True):
            assert new["name"] == old["name"]
            for key in ("env", "volumeMounts"):
                before = old.get(key, [])
                assert new.get(key, [])[: len(before)] == before
                identity = "name" if key == "env" else "mountPath"
                added = [one[identity] for one in new.get(key, [])[len(before) :]]
                assert len(added) == len(set(added))
                assert not set(added) & {one[identity] for one in before}


@given(PODS)
def test_a_mount_has_its_volume_and_a_token_file_its_mount(pod: Pod) -> None:
    patch = tracking_patch(pod, URL, CA)
    volumes = [one for one in patch if one["path"] == "/spec/volumes/-"]
    mounts = {str(one["path"]).rsplit("/", 2)[0] for one in patch if str(one["path"]).endswith("/volumeMounts/-")}
    files = {
        str(one["path"]).rsplit("/", 2)[0]
        for one in patch
        if isinstance(one["value"], dict) and one["value"].get("name") == "CARBONBUDGET_TOKEN_FILE"
    }
    assert mounts == files
    assert len(volumes) == (1 if mounts else 0)


@pytest.mark.parametrize("pod", LEFT, ids=lambda one: one["metadata"]["name"])
def test_the_patch_of_a_pod_that_is_left_is_empty(pod: Pod) -> None:
    assert tracking_patch(pod, URL, CA) == []


def test_a_ca_of_any_length_that_fits_is_given_and_a_longer_one_is_not() -> None:
    for length, expected in ((0, False), (1, True), (MOST_CA_CHARACTERS, True), (MOST_CA_CHARACTERS + 1, False)):
        assert ("CARBONBUDGET_CA" in json.dumps(tracking_patch(CHANGED[0], URL, "x" * length))) is expected


@pytest.mark.parametrize(
    "pod", [{}, {"metadata": None, "spec": []}, {"metadata": {"labels": {"carbonbudget.dev/run": 1}}}]
)
def test_what_is_no_pod_gets_no_patch(pod: Pod) -> None:
    assert tracking_patch(pod, URL, CA) == []


def test_the_ca_is_read_again_when_it_may_have_changed(tmp_path: Path) -> None:
    now = 0.0
    path = tmp_path / "ca.crt"
    ca = CaFile(path, lambda: now)
    assert ca.text() == ""
    path.write_text("first")
    assert ca.text() == ""
    now = 15.0
    assert ca.text() == "first"
    path.write_text("x" * (MOST_CA_CHARACTERS + 1))
    now = 30.0
    assert ca.text() == ""


def a_client(tracking: TrackingHandler | None) -> tuple[TestClient[Any, Any], CollectorRegistry]:
    bench, registry = Bench(), CollectorRegistry()
    metrics = AdmissionMetrics(registry, lambda: 0.0, {})
    app = make_app(bench.handler, bench.budgets, AdmissionEvents(metrics), metrics, dict, tracking)
    return TestClient(TestServer(app)), registry


async def test_a_review_is_answered_with_the_patch_and_never_with_a_refusal(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text(CA)
    client, registry = a_client(TrackingHandler(URL, CaFile(tmp_path / "ca.crt")))
    review = a_review("Pod", an_object("Pod"))
    review["request"]["object"] = CHANGED[0]
    async with client:
        answer = await (await client.post("/track", data=orjson.dumps(review))).json()
        assert answer["response"]["allowed"] is True
        patch = json.loads(base64.b64decode(answer["response"]["patch"]))
        assert patch == tracking_patch(CHANGED[0], URL, CA)

        review["request"]["object"] = LEFT[0]
        answer = await (await client.post("/track", data=orjson.dumps(review))).json()
        assert answer["response"] == {"uid": review["request"]["uid"], "allowed": True}

        review["request"]["object"] = {"spec": [[]] * 1_000_000}  # 3 MB of text, far more in memory
        answer = await (await client.post("/track", data=io.BytesIO(orjson.dumps(review)))).json()
        assert answer["response"] == {"uid": review["request"]["uid"], "allowed": True}

        assert (await client.post("/track", data=b"{")).status == 400
        assert (await client.post("/track", data=b"{}")).status == 400
    for outcome in ("patched", "unchanged", "too_large"):
        assert registry.get_sample_value("carbonbudget_admission_tracked_pods_total", {"outcome": outcome}) == 1


async def test_without_the_setting_there_is_no_such_path() -> None:
    client, _ = a_client(None)
    async with client:
        assert (await client.post("/track", data=b"{}")).status == 404
