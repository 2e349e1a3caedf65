"""Suspension, resumption and final figures of real Jobs: the enforcement loop in this process, against the real API
server, with statuses that the tests write while the controller is away."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from tests.conftest import Cluster
from tests.e2e.conftest import Manifest, Release, budget, deployment, job, wait_for

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import RESOURCES
from carbonbudget_operator.enforcement.enforcement_loop import EnforcementLoop
from carbonbudget_operator.enforcement.job_fields import parse_job
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.server_client import ServerClient
from carbonbudget_operator.settings import EnforcementSettings

pytestmark = pytest.mark.cluster

JITTER_SECONDS = 4
SLEEP = "sleep 600"
OPTED_IN = {"carbonbudget.dev/suspendable": "true"}
THRESHOLDS = [{"at": 90, "action": "Block"}, {"at": 100, "action": "Suspend"}]
HOUR = dt.timedelta(hours=1)


class Enforcing:
    """The loop in a thread of its own, with a watch of budgets in the controller's place."""

    def __init__(self) -> None:
        self.conflicts: dict[str, str] = {}
        self.data_through: int | None = None
        """Up to when all nodes have reported; None: up to now."""
        self._bodies: dict[str, Manifest] = {}
        self._changed = asyncio.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        assert not self._thread.is_alive()

    def report(self, budget_key: str, sentence: str, _managed: bool) -> None:
        self.conflicts[budget_key] = sentence

    def clear(self, budget_key: str) -> None:
        self.conflicts.pop(budget_key, None)

    async def _run(self) -> None:
        client = KubeClient.from_environment()
        runner = web.AppRunner(_figures(self), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server = ServerClient(f"http://127.0.0.1:{runner.addresses[0][1]}", None, lambda: "")
        server._tls = lambda: False  # type: ignore[method-assign,assignment,return-value] # plain HTTP on loopback
        loop = EnforcementLoop(
            client, server, lambda: dict(self._bodies), self._changed, dict, self,
            EnforcementSettings(resume_jitter_seconds=JITTER_SECONDS), frozenset({"kube-system"}),
            EnforcementMetrics(CollectorRegistry()), window_seconds=10, pod_days=35,
        )  # fmt: skip
        tasks = [asyncio.create_task(loop.run()), *(asyncio.create_task(self._follow(client, r)) for r in RESOURCES)]
        while not self._stop.is_set():
            await asyncio.sleep(0.1)
            assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()
        await client.close()

    async def _follow(self, client: KubeClient, resource: object) -> None:
        async for event, body in client.watch(resource.collection):  # type: ignore[attr-defined] # a Resource
            if body is None:
                continue
            uid = body["metadata"]["uid"]  # type: ignore[index] # JSON
            if event == "DELETED":
                self._bodies.pop(uid, None)
            else:
                self._bodies[uid] = body
            self._changed.set()


def _figures(enforcing: Enforcing) -> web.Application:
    """The server's figures of runs: every Job emitted the same."""

    async def runs(request: web.Request) -> web.Response:
        answers = [
            {
                "id": query["id"], "pods": 1, "energy_uj": 2_808_000_000_000, "location_ug": 312_000_000,
                "market_ug": 0, "embodied_ug": 0, "gpu_ms": 0, "measured_percent": 100,
            }
            for query in (await request.json())["queries"]
        ]  # fmt: skip
        through = int(time.time()) if enforcing.data_through is None else enforcing.data_through
        return web.json_response({"data_through": through, "answers": answers})

    app = web.Application()
    app.router.add_post("/v1/runs/query", runs)
    return app


@pytest.fixture(scope="module")
def quiet(release: Release) -> Iterator[Release]:
    """The chart, without the controller: nobody else writes statuses."""
    release.scale(0, "carbonbudget-controller")
    yield release
    release.scale(None, "carbonbudget-controller")


@pytest.fixture(scope="module")
def enforcing(quiet: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Enforcing]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(quiet.be_the_controller(tmp_path_factory.mktemp("controller"))))
        made = Enforcing()
        made.start()
        yield made
        made.stop()


@pytest.fixture(autouse=True)
def reports_up_to_now(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that holds the reports back does so for itself alone."""
    yield
    if "enforcing" in request.fixturenames:
        request.getfixturevalue("enforcing").data_through = None


def set_status(cluster: Cluster, namespace: str, name: str, suspend_from: dt.timedelta | None, **more: object) -> None:
    """What the controller would write: Suspend from so long from now on, or nothing."""
    now = dt.datetime.now(dt.UTC)
    generation = cluster.get("-n", namespace, "carbonbudget", name)["metadata"]["generation"]  # type: ignore[index] # JSON
    enforcement = None
    if suspend_from is not None:
        enforcement = {"action": "Suspend", "until": _time(now + HOUR), "suspendFrom": _time(now + suspend_from)}
    state = "WithinBudget" if suspend_from is None else "Exceeded"
    status = {"evaluatedGeneration": generation, "state": state, "enforcement": enforcement} | more
    write = ("-n", namespace, "patch", "carbonbudget", name, "--type=merge", "--subresource=status")
    cluster.kubectl(*write, "-p", json.dumps({"status": status}))


def _time(at: dt.datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def a_job(name: str, namespace: str, labels: dict[str, str], script: str = SLEEP, **spec: object) -> Manifest:
    made = job(name, namespace, {"project": "training"}, script)
    made["metadata"]["labels"] = labels  # type: ignore[index] # a manifest
    made["spec"] |= spec  # type: ignore[operator] # a manifest
    return made


def running(cluster: Cluster, namespace: str, name: str) -> bool | None:
    """Whether the Job has a pod; None for neither yes nor no."""
    found = cluster.get("-n", namespace, "job", name)
    status: dict[str, object] = found["status"]  # type: ignore[assignment] # JSON
    return bool(status.get("active"))


def metadata(cluster: Cluster, namespace: str, name: str, kind: str = "job") -> tuple[dict[str, str], dict[str, str]]:
    """Our labels and annotations."""
    found = cluster.get("-n", namespace, kind, name)["metadata"]
    assert isinstance(found, dict)
    ours = [
        {key: value for key, value in found.get(part, {}).items() if key.startswith("carbonbudget.dev/")}
        for part in ("labels", "annotations")
    ]
    return ours[0], ours[1]


def reasons(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    """Events about the Job: reason to message."""
    events = cluster.get("-n", namespace, "events")["items"]
    assert isinstance(events, list)
    return {e["reason"]: e["message"] for e in events if e["involvedObject"]["name"] == name}


def suspended(cluster: Cluster, namespace: str, name: str) -> bool:
    return bool(cluster.get("-n", namespace, "job", name)["spec"].get("suspend"))  # type: ignore[attr-defined] # JSON


def held(quiet: Release, namespace: str, name: str) -> None:
    """A budget that has reached Suspend, and a Job of it that is suspended."""
    quiet.apply(budget(namespace, "monthly", limit="1g", period="Month", thresholds=THRESHOLDS))
    quiet.apply(a_job(name, namespace, OPTED_IN))
    wait_for("the Job to run", lambda: running(quiet.cluster, namespace, name), seconds=60)
    set_status(quiet.cluster, namespace, "monthly", dt.timedelta(0))
    wait_for("the suspension", lambda: suspended(quiet.cluster, namespace, name), seconds=20)


def test_release_lets_go_of_a_namespace_and_says_so(quiet: Release, namespace: str) -> None:
    """The first test, before a loop runs: nobody suspends or resumes meanwhile."""
    cluster = quiet.cluster
    quiet.apply(budget(namespace, "monthly", limit="1g", period="Month", thresholds=THRESHOLDS))
    quiet.apply(a_job("train", namespace, OPTED_IN, suspend=True))
    marks = {
        "labels": {"carbonbudget.dev/suspended": "true"},
        "annotations": {"carbonbudget.dev/suspended-by": f"{namespace}/monthly"},
    }
    patch = json.dumps({"metadata": marks})
    cluster.kubectl(*quiet.AS_CONTROLLER, "-n", namespace, "patch", "job", "train", "--type=merge", "-p", patch)
    cluster.kubectl("-n", namespace, "label", "carbonbudget", "monthly", "carbonbudget.dev/blocking=true")
    set_status(cluster, namespace, "monthly", HOUR)
    would = _release(cluster, "--namespace", namespace, "--dry-run").stdout
    assert f"Job {namespace}/train: resumed (dry run)" in would
    assert suspended(cluster, namespace, "train")
    said = _release(cluster, "--namespace", namespace).stdout
    assert f"CarbonBudget {namespace}/monthly: no longer blocks or suspends" in said
    assert f"Job {namespace}/train: resumed" in said
    wait_for("its pod", lambda: running(cluster, namespace, "train"), seconds=60)
    found = cluster.get("-n", namespace, "carbonbudget", "monthly")
    assert "enforcement" not in found["status"]  # type: ignore[operator] # JSON
    assert "carbonbudget.dev/blocking" not in found["metadata"].get("labels", {})  # type: ignore[attr-defined] # JSON
    assert "nothing to release" in _release(cluster, "--namespace", namespace).stdout


def test_after_grace_who_opted_in_is_suspended_and_nobody_else(
    quiet: Release, enforcing: Enforcing, namespace: str
) -> None:
    cluster = quiet.cluster
    quiet.apply(
        budget(namespace, "monthly", limit="1g", period="Month", thresholds=THRESHOLDS),
        a_job("in", namespace, OPTED_IN),
        a_job("out", namespace, {}),
        # Kueue is not here: what it would do with its Job is not our matter.
        a_job("queued", namespace, OPTED_IN | {"kueue.x-k8s.io/queue-name": "main"}),
    )
    for name in ("in", "out", "queued"):
        wait_for(f"{name} to run", lambda name=name: running(cluster, namespace, name), seconds=60)
    set_status(cluster, namespace, "monthly", dt.timedelta(seconds=8))
    end = time.time() + 7
    announced = wait_for(
        "the announcement", lambda: metadata(cluster, namespace, "in")[1].get("carbonbudget.dev/suspend-at"), seconds=6
    )
    assert not suspended(cluster, namespace, "in")
    assert time.time() < end
    wait_for("the suspension", lambda: suspended(cluster, namespace, "in"), seconds=20)
    assert dt.datetime.now(dt.UTC) >= dt.datetime.fromisoformat(announced)
    wait_for("its pod to go", lambda: not running(cluster, namespace, "in"), seconds=60)
    labels, annotations = metadata(cluster, namespace, "in")
    assert labels["carbonbudget.dev/suspended"] == "true"
    assert annotations == {"carbonbudget.dev/suspended-by": f"{namespace}/monthly"}
    assert {"SuspendAnnounced", "SuspendedByCarbonBudget"} <= wait_for(
        "its Events", lambda: reasons(cluster, namespace, "in").keys() or None
    )
    for name in ("out", "queued"):
        assert running(cluster, namespace, name)
        assert metadata(cluster, namespace, name)[1] == {}


def test_a_raised_limit_resumes_within_the_jitter(quiet: Release, enforcing: Enforcing, namespace: str) -> None:
    cluster = quiet.cluster
    held(quiet, namespace, "train")
    patch = ("-n", namespace, "patch", "carbonbudget", "monthly", "--type=merge", "-p", '{"spec": {"limit": "1t"}}')
    cluster.kubectl(*patch)
    assert suspended(cluster, namespace, "train")  # until there is a verdict on the new limit
    set_status(cluster, namespace, "monthly", None)
    began = time.time()
    wait_for("the resumption", lambda: not suspended(cluster, namespace, "train"), seconds=JITTER_SECONDS + 10)
    assert time.time() - began < JITTER_SECONDS + 5
    wait_for("its pod", lambda: running(cluster, namespace, "train"), seconds=60)
    labels, annotations = metadata(cluster, namespace, "train")
    assert labels == OPTED_IN
    assert set(annotations) == {"carbonbudget.dev/resumed-at"}
    assert "ResumedByCarbonBudget" in wait_for("the Event", lambda: reasons(cluster, namespace, "train") or None)


def test_a_deleted_budget_resumes_its_jobs(quiet: Release, enforcing: Enforcing, namespace: str) -> None:
    held(quiet, namespace, "train")
    quiet.cluster.kubectl("-n", namespace, "delete", "carbonbudget", "monthly")
    wait_for("the resumption", lambda: not suspended(quiet.cluster, namespace, "train"), seconds=20)


def test_a_gitops_controller_that_resumes_is_named_and_not_fought(
    quiet: Release, enforcing: Enforcing, namespace: str
) -> None:
    cluster = quiet.cluster
    held(quiet, namespace, "train")
    revert = ("-n", namespace, "patch", "job", "train", "--type=merge", "--field-manager=argocd")
    cluster.kubectl(*revert, "-p", '{"spec": {"suspend": false}}')
    key = f"{namespace}/monthly"
    sentence = wait_for("the conflict", lambda: enforcing.conflicts.get(key), seconds=20)
    assert sentence == f"suspended Jobs were resumed and are left running: {namespace}/train by argocd"
    _stays_resumed(cluster, namespace)
    set_status(cluster, namespace, "monthly", None)
    wait_for("the conflict to end", lambda: key not in enforcing.conflicts, seconds=20)
    wait_for("our marks to go", lambda: metadata(cluster, namespace, "train") == (OPTED_IN, {}), seconds=20)
    assert running(cluster, namespace, "train")


def test_a_replace_that_takes_our_marks_away_is_not_fought_either(
    quiet: Release, enforcing: Enforcing, namespace: str
) -> None:
    cluster = quiet.cluster
    held(quiet, namespace, "train")
    # The Job controller notes the suspension first, as it has by the time a GitOps controller looks.
    wait_for("its pod to go", lambda: not running(cluster, namespace, "train"), seconds=60)
    marks = {"labels": {"carbonbudget.dev/suspended": None}, "annotations": {"carbonbudget.dev/suspended-by": None}}
    revert = ("-n", namespace, "patch", "job", "train", "--type=merge", "--field-manager=flux")
    cluster.kubectl(*revert, "-p", json.dumps({"metadata": marks, "spec": {"suspend": False}}))
    sentence = wait_for("the conflict", lambda: enforcing.conflicts.get(f"{namespace}/monthly"), seconds=20)
    assert sentence.endswith("train by flux")
    _stays_resumed(cluster, namespace)


def _stays_resumed(cluster: Cluster, namespace: str) -> None:
    """For more than a window, in which the loop has decided at least once."""
    end = time.time() + 12
    while time.time() < end:
        assert not suspended(cluster, namespace, "train")
        time.sleep(1)


def test_a_finished_job_gets_its_final_figures_and_an_event(
    quiet: Release, enforcing: Enforcing, namespace: str
) -> None:
    cluster = quiet.cluster
    enforcing.data_through = 0
    quiet.apply(a_job("short", namespace, {}, "true"))
    find = ("-n", namespace, "job", "short")
    finished_at = wait_for("its end", lambda: parse_job(cluster.get(*find)).finished_at or None, seconds=60)
    hour_end = finished_at - finished_at % 3600 + 3600
    provisional = {
        "carbonbudget.dev/accounting": "LocationBased",
        "carbonbudget.dev/emissions": "312g",
        "carbonbudget.dev/energy": "0.78 kWh",
        "carbonbudget.dev/as-of": format_time(hour_end - 1),
    }
    enforcing.data_through = hour_end - 1
    found = wait_for("provisional figures", lambda: metadata(cluster, namespace, "short")[1] or None, seconds=60)
    assert found == provisional
    assert "CarbonEmitted" not in reasons(cluster, namespace, "short")
    enforcing.data_through = hour_end
    wait_for("the figures", lambda: "carbonbudget.dev/final" in metadata(cluster, namespace, "short")[1], seconds=60)
    assert metadata(cluster, namespace, "short")[1] == provisional | {
        "carbonbudget.dev/as-of": format_time(hour_end), "carbonbudget.dev/final": "true",
    }  # fmt: skip
    message = wait_for("the Event", lambda: reasons(cluster, namespace, "short").get("CarbonEmitted"))
    assert message.startswith("short emitted 312g CO2e: 0.78 kWh")


def test_a_job_that_is_deleted_with_its_end_has_its_event(quiet: Release, enforcing: Enforcing, namespace: str) -> None:
    cluster = quiet.cluster
    quiet.apply(a_job("gone", namespace, {}, "true", ttlSecondsAfterFinished=0))
    find = ("-n", namespace, "get", "job", "gone", "--ignore-not-found", "-o", "name")
    wait_for("the Job to be gone", lambda: not cluster.kubectl(*find).stdout, seconds=60)
    message = wait_for("the Event", lambda: reasons(cluster, namespace, "gone").get("CarbonEmitted"), seconds=60)
    assert "the figure may change until the hour is over" in message or time.time() % 3600 < 300


def test_a_deployment_is_told_how_its_budget_stands_without_a_rollout(
    quiet: Release, enforcing: Enforcing, namespace: str
) -> None:
    cluster = quiet.cluster
    quiet.apply(deployment("web", namespace, {"app": "web"}), budget(namespace, "monthly", limit="1g", period="Month"))
    pods = ("-n", namespace, "get", "pods", "-l", "app=web", "-o", "name")
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    before = cluster.kubectl(*pods).stdout
    top = [{"kind": "Deployment", "name": "web", "emissions": "2.2kg"}]
    set_status(cluster, namespace, "monthly", None, topWorkloads=top)
    wait_for("the annotation", lambda: metadata(cluster, namespace, "web", "deployment")[1] or None, seconds=30)
    found = metadata(cluster, namespace, "web", "deployment")[1]
    assert found["carbonbudget.dev/state"] == "WithinBudget"
    assert found["carbonbudget.dev/emissions"] == "2.2kg"
    cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    assert cluster.kubectl(*pods).stdout == before


def _release(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cluster.run(str(Path(sys.executable).parent / "carbonbudget"), "release", *arguments)
