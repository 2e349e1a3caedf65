"""Pods as large as an API server takes them, many of them: the others keep their names, and memory is bounded."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.pod_api import Api, Clock, a_pod, event, until

from carbonbudget_agent import json_stream
from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.json_stream import JsonStream
from carbonbudget_agent.pods.kubelet import KubeletPods
from carbonbudget_agent.pods.pod_cache import PodCache
from carbonbudget_agent.pods.pod_file import FilePods
from carbonbudget_agent.pods.pod_info import POD_PARTS, PodSource, parse_pod
from carbonbudget_agent.pods.pod_watch import WatchedPods
from carbonbudget_agent.work_counters import WorkCounters

SIZE = 1_350_000  # bytes; an API server takes objects of 1.5 MiB
LIMIT_KB = 40 * 1024
REQUESTS = {"resources": {"requests": {"cpu": "1m", "memory": "1"}}}


def text(pod: dict[str, Any]) -> None:
    pod["spec"]["containers"] = [{"name": "c", "env": [{"name": "A", "value": "x" * SIZE}], **REQUESTS}]


def escaped_text(pod: dict[str, Any]) -> None:
    """Six bytes a character in the answer."""
    pod["metadata"]["annotations"] = {"a": "<" * SIZE}


def variables(pod: dict[str, Any]) -> None:
    env = [{"name": f"A{n}", "value": ""} for n in range(SIZE // 31)]
    pod["spec"]["containers"] = [{"name": "c", "env": env, **REQUESTS}]


def containers(pod: dict[str, Any]) -> None:
    """As many as 1.5 MiB of etcd's encoding hold, which is half as long."""
    more = {"image": "x", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
    pod["spec"]["containers"] = [{"name": f"c{n}", **more, **REQUESTS} for n in range(SIZE // 80)]


def labels(pod: dict[str, Any]) -> None:
    pod["metadata"]["labels"] = {f"l{n}": "" for n in range(SIZE // 14)}


def owners(pod: dict[str, Any]) -> None:
    owner = {"apiVersion": "v1", "kind": "K", "name": "n", "uid": "u"}
    pod["metadata"]["ownerReferences"] = [owner | {"name": str(n)} for n in range(SIZE // 65)]


KINDS: dict[str, Callable[[dict[str, Any]], None]] = {
    "text": text, "escaped text": escaped_text, "variables": variables, "containers": containers, "labels": labels,
    "owners": owners,
}  # fmt: skip


def a_large_pod(kind: str, uid: str, phase: str = "Running") -> dict[str, Any]:
    pod = a_pod(uid)
    KINDS[kind](pod)
    pod["status"]["phase"] = phase
    return pod


def encoded(value: object) -> bytes:
    """As an API server does, which escapes what HTML could take for a tag."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c").encode()


def a_list(*items: object) -> bytes:
    return b'{"kind":"PodList","metadata":{"resourceVersion":"5"},"items":[' + b",".join(map(encoded, items)) + b"]}"


@pytest.fixture
def api() -> Iterator[Api]:
    made = Api()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.watches.extend([[]] * 50)
    made.shutdown()
    thread.join()
    made.server_close()


def source(kind: str, api: Api, path: Path, counts: WorkCounters) -> PodSource:
    endpoint = Endpoint(f"http://127.0.0.1:{api.server_port}", None, None)
    if kind == "watch":
        watched = WatchedPods(endpoint, "node-1", counts)
        assert watched.wait_listed(30)
        return watched
    if kind == "kubelet":
        return KubeletPods(endpoint, "node-1", counts, Clock())
    assert api.answer is not None
    path.write_bytes(api.answer[1])
    return FilePods(path, "node-1", counts)


@pytest.mark.parametrize("phase", ["Running", "Failed"])
@pytest.mark.parametrize("kind", ["watch", "kubelet", "file"])
def test_pods_that_are_too_large_together_leave_every_pod_its_name(
    api: Api, tmp_path: Path, kind: str, phase: str
) -> None:
    """Thirteen that their node rejected exceeded the limit of a list, and the agent named no pod at all."""
    large = [a_large_pod("text", f"large-{n}", phase) for n in range(13)]
    api.answer = (200, a_list(*large[:6], a_pod("small"), *large[6:]))
    counts = WorkCounters()
    pods = source(kind, api, tmp_path / "pods.json", counts)
    assert set(pods.pods()) == {"small", *(f"large-{n}" for n in range(13))}
    assert (counts.pod_errors, counts.pods_left_out) == (0, 0)
    pods.close()


def test_the_api_server_is_asked_for_no_pod_that_has_ended(api: Api) -> None:
    watched = WatchedPods(Endpoint(f"http://127.0.0.1:{api.server_port}", None, None), "node-1", WorkCounters())
    assert watched.wait_listed(30)
    until(lambda: any("watch=1" in path for path in api.paths))
    assert all("status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed" in path for path in api.paths)
    watched.close()


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_large_pod_is_kept_what_is_kept_of_the_same_pod_read_whole(kind: str) -> None:
    pod = a_large_pod(kind, "u1")
    pod["metadata"]["ownerReferences"] = [
        *pod["metadata"].get("ownerReferences", []),
        {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "n", "controller": True},
    ]
    body = encoded(pod)
    found = JsonStream(body[at : at + 65_536] for at in range(0, len(body), 65_536)).value(POD_PARTS)
    assert found != pod  # it was too large to be decoded whole
    assert parse_pod(found, "node-1") == parse_pod(pod, "node-1")


AMOUNTS = st.dictionaries(st.sampled_from(["cpu", "memory", "nvidia.com/gpu", "x/y"]), st.sampled_from(["1", "250m"]))
RESOURCES = st.fixed_dictionaries({}, optional={"requests": AMOUNTS, "limits": AMOUNTS})
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc")}, optional={"resources": RESOURCES, "restartPolicy": st.just("Always")}
    ),
    max_size=3,
)
STATUSES = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc")}, optional={"resources": RESOURCES, "allocatedResources": AMOUNTS}
    ),
    max_size=3,
)
OWNER = st.fixed_dictionaries({
    "apiVersion": st.just("v1"),
    "kind": st.sampled_from(["Node", "Job"]),
    "name": st.just("node-1"),
    "uid": st.just("n"),
    "controller": st.booleans(),
})  # fmt: skip
PODS = st.fixed_dictionaries({
    "metadata": st.fixed_dictionaries({
        "uid": st.just("u1"),
        "name": st.just("x"),
        "namespace": st.just("team"),
        "labels": st.dictionaries(st.text("abc", max_size=5), st.text("abc", max_size=3), max_size=90),
        "annotations": st.dictionaries(
            st.sampled_from(["kubernetes.io/config.hash", "kubernetes.io/config.mirror", "other"]), st.just("h")
        ),
        "ownerReferences": st.lists(OWNER, max_size=3),
        "managedFields": st.just([{"fieldsV1": {"f:spec": {}}}]),
    }),
    "spec": st.fixed_dictionaries(
        {"containers": CONTAINERS}, optional={"initContainers": CONTAINERS, "overhead": AMOUNTS, "resources": RESOURCES}
    ),
    "status": st.fixed_dictionaries(
        {"phase": st.sampled_from(["Running", "Failed"])},
        optional={
            "startTime": st.just("now"),
            "containerStatuses": STATUSES,
            "initContainerStatuses": STATUSES,
            "conditions": st.lists(st.fixed_dictionaries({
                "type": st.sampled_from(["PodResizePending", "Ready"]),
                "reason": st.sampled_from(["Infeasible", "Deferred"]),
            })),
        },
    ),
})  # fmt: skip


@given(PODS)
def test_whatever_a_pod_holds_the_parts_that_are_read_are_all_that_count(pod: dict[str, Any]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WHOLE_CHARACTERS", 40)
        found = JsonStream([json.dumps(pod).encode()]).value(POD_PARTS)
    whole, part = parse_pod(pod, "node-1"), parse_pod(found, "node-1")
    assert part == whole
    assert (part.finished, part.acknowledged) == (whole.finished, whole.acknowledged)


AGENT = """
import sys, time
import carbonbudget_agent.exporter, carbonbudget_agent.run
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_agent.https_client import Endpoint
from carbonbudget_agent.pods.pod_watch import WatchedPods
from carbonbudget_agent.pods.kubelet import KubeletPods
url, kind = sys.argv[1:]
counts = WorkCounters()
if kind == "kubelet":
    pods = KubeletPods(Endpoint(url, None, None), "node-1", counts)
else:
    pods = WatchedPods(Endpoint(url, None, None), "node-1", counts)
end = time.monotonic() + 100
while kind + "-last" not in pods.pods() and time.monotonic() < end:
    time.sleep(0.02)
known = sum(1 for uid in pods.pods() if uid.startswith("large"))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(kind + "-last" in pods.pods(), known, counts.pod_errors, status["VmHWM"].split()[0])
"""


@pytest.mark.parametrize("kind", ["list", "events", "kubelet"])
@pytest.mark.parametrize("what", KINDS)
def test_large_pods_of_any_shape_are_read_within_the_agents_memory(api: Api, what: str, kind: str) -> None:
    number = 50 if what == "text" else 5
    large = [a_large_pod(what, f"large-{n}") for n in range(2)]
    if kind == "events":
        api.items = []
        many = [event("ADDED", large[n % 2], str(n)) for n in range(number)]
        lines = [*map(encoded, many), encoded(event("ADDED", a_pod("events-last"), "99"))]
        api.raw_watches.append(b"\n".join(lines) + b"\n")
    else:
        api.answer = (200, a_list(*[large[n % 2] for n in range(number)], a_pod(f"{kind}-last")))
    command = [sys.executable, "-c", AGENT, f"http://127.0.0.1:{api.server_port}", kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    last, known, errors, peak_kb = done.stdout.split()
    assert (last, int(known), int(errors)) == ("True", 2, 0), done.stderr
    assert int(peak_kb) < LIMIT_KB


def test_of_pods_that_only_wait_the_first_have_labels_many_a_name_and_the_rest_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counts = WorkCounters()
    known = PodCache(counts)

    def pod(uid: str, **status: str) -> Any:
        value = a_pod(uid)
        value["metadata"]["labels"] = {"app": uid}
        return parse_pod(value | {"status": status}, "node-1")

    waiting = [pod(f"waits-{n}", phase="Pending") for n in range(2_500)]
    runs = [pod(f"runs-{n}", phase="Running", startTime="now") for n in range(300)]
    for _ in range(2):
        known.replace([*waiting, *runs], now=0.0)
    found = known.snapshot()
    assert sum(uid.startswith("waits") for uid in found) == 2_000
    assert sum(uid.startswith("waits") and bool(pod.labels) for uid, pod in found.items()) == 100
    assert all(found[f"runs-{n}"].labels for n in range(300))
    assert (counts.pods_left_out, len(caplog.records)) == (1_000, 1)
    for one in waiting:  # by a watch it is the same
        known.put(one)
    assert len(known.snapshot()) == 2_300
    late = pod("waits-2400", phase="Running", startTime="now")  # the kubelet took it: now it counts
    known.put(late)
    assert known.snapshot()["waits-2400"].labels


def test_a_pod_whose_cgroup_is_there_is_kept_whole_whatever_waits() -> None:
    known = PodCache(WorkCounters())
    known.seen(["last"], now=0.0)
    known.replace((parse_pod({**a_pod(f"w{n}"), "status": {}}, "node-1") for n in range(3_000)), now=0.0)
    pod = a_pod("last")
    pod["metadata"]["labels"] = {"app": "x"}
    known.put(parse_pod(pod | {"status": {"phase": "Pending"}}, "node-1"))
    assert known.snapshot()["last"].labels == {"app": "x"}


def test_pods_that_never_ran_are_forgotten_at_once_when_they_go() -> None:
    """A tenant that makes and loses a thousand pods a minute fills no memory of those that are gone."""
    known = PodCache(WorkCounters())
    for n in range(1_000):
        known.put(parse_pod({**a_pod(f"w{n}"), "status": {"phase": "Pending"}}, "node-1"))
        known.remove(f"w{n}", now=0.0)
    assert known.snapshot() == {}
