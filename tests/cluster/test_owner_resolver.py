"""Pods count for the workload that people know: their controller's owner, once the API server has told it."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field, replace

import pytest
import sqlalchemy as sa
from aiohttp import web
from tests.kube.test_client import client_of
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_core.node_report import NodeReport, PodController
from carbonbudget_operator.cluster.owner_resolver import OwnerResolver
from carbonbudget_operator.ledger.batch_delete import BatchDeleter
from carbonbudget_operator.ledger.booking import Booker, BookingResult
from carbonbudget_operator.ledger.fact_reader import hours_with_facts, read_hour
from carbonbudget_operator.ledger.workload_owners import drop_orphans


@dataclass
class Cluster:
    """Objects by path; what it was asked."""

    objects: dict[str, dict[str, object]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int = 0

    def add(self, path: str, uid: str, *owners: tuple[str, str, str, bool]) -> None:
        keys = ("kind", "name", "uid", "controller")
        references = [dict(zip(keys, owner, strict=True)) for owner in owners]
        name = path.rpartition("/")[2]
        self.objects[path] = {"metadata": {"name": name, "uid": uid, "ownerReferences": references}}

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        # As an API server does: the one form for an object, the other for a list, and 406 for the wrong one.
        is_list = request.path.rpartition("/")[2] in ("jobs", "replicasets")
        if f"as=PartialObjectMetadata{'List' if is_list else ''};" not in request.headers["Accept"]:
            return web.json_response({"message": "not acceptable"}, status=406)
        if self.status:
            return web.json_response({"message": "no"}, status=self.status)
        if request.path in self.objects:
            return web.json_response(self.objects[request.path])
        plural = request.path.rpartition("/")[2]
        if plural in ("jobs", "replicasets"):
            found = [item for path, item in self.objects.items() if path.split("/")[-2] == plural]
            return web.json_response({"items": found, "metadata": {}})
        return web.json_response({"message": "not found"}, status=404)


JOBS, SETS = "/apis/batch/v1/namespaces/team-a/jobs", "/apis/apps/v1/namespaces/team-a/replicasets"


def owned(*controllers: tuple[str, str, str], start: int = HOUR) -> NodeReport:
    """A report with one pod for each controller."""
    report = a_report(start, pods={f"pod-{index}": 100 for index in range(len(controllers))})
    pods = (replace(pod, controller=PodController(*c)) for pod, c in zip(report.pods, controllers, strict=True))
    return replace(report, pods=tuple(pods))


def workloads(engine: sa.Engine, hour: int = HOUR) -> list[str]:
    with engine.connect() as connection:
        return sorted(g.group.workload for item in read_hour(connection, "default", hour) for g in item.groups)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


async def found(engine: sa.Engine, cluster: Cluster, *reports: NodeReport, more: dict[str, str] | None = None) -> int:
    """Book, then one round by a new process."""
    assert set(book(Booker(engine), *reports)) <= {BookingResult.STORED, BookingResult.DUPLICATE}
    async with client_of(cluster.answer) as client:
        owners = OwnerResolver(engine, client, more or {})
        for report in reports:
            owners.see(report)
        return await owners.step()


async def test_a_replica_sets_pods_count_for_the_deployment_and_a_jobs_for_what_made_it(
    engine: sa.Engine, cluster: Cluster
) -> None:
    cluster.add(f"{SETS}/web-5d9", "rs", ("Deployment", "web", "d", True))
    cluster.add(f"{JOBS}/nightly-1", "j1", ("CronJob", "nightly", "c", True))
    cluster.add(f"{JOBS}/train-0", "j2", ("Queue", "q", "q", False), ("JobSet", "train", "s", True))
    cluster.add(f"{JOBS}/alone", "j3")
    report = owned(
        ("ReplicaSet", "web-5d9", "rs"), ("Job", "nightly-1", "j1"), ("Job", "train-0", "j2"), ("Job", "alone", "j3"),
        ("StatefulSet", "db", "x"),
    )  # fmt: skip
    assert await found(engine, cluster, report) == 3
    assert workloads(engine) == ["CronJob/nightly", "Deployment/web", "Job/alone", "JobSet/train", "StatefulSet/db"]
    assert len(cluster.asked) == 4  # nothing was asked of a kind that has no owners


async def test_the_hours_in_which_it_ran_are_valued_again_and_no_others(engine: sa.Engine, cluster: Cluster) -> None:
    cluster.add(f"{JOBS}/nightly-1", "j1", ("CronJob", "nightly", "c", True))
    book(Booker(engine), a_report(HOUR - 3600))
    with engine.connect() as connection:
        before = hours_with_facts(connection, 0, 2**40)
    await found(engine, cluster, owned(("Job", "nightly-1", "j1")))
    with engine.connect() as connection:
        after = hours_with_facts(connection, 0, 2**40)
    assert after == {HOUR - 3600: before[HOUR - 3600], HOUR: 2}


async def test_what_is_known_is_not_asked_again_not_even_by_another_process(
    engine: sa.Engine, cluster: Cluster
) -> None:
    cluster.add(f"{JOBS}/nightly-1", "j1", ("CronJob", "nightly", "c", True))
    await found(engine, cluster, owned(("Job", "nightly-1", "j1")))
    cluster.asked.clear()
    assert await found(engine, cluster, owned(("Job", "nightly-1", "j1"), start=HOUR + 60)) == 0
    assert cluster.asked == []
    assert workloads(engine) == ["CronJob/nightly"]


async def test_a_controller_that_is_gone_or_another_by_now_keeps_its_own_name(
    engine: sa.Engine, cluster: Cluster
) -> None:
    cluster.add(f"{JOBS}/again", "new-uid", ("CronJob", "other", "c", True))
    assert await found(engine, cluster, owned(("Job", "gone", "g"), ("Job", "again", "old-uid"))) == 0
    assert workloads(engine) == ["Job/again", "Job/gone"]


async def test_where_the_api_server_is_away_it_is_asked_again(engine: sa.Engine, cluster: Cluster) -> None:
    cluster.add(f"{JOBS}/nightly-1", "j1", ("CronJob", "nightly", "c", True))
    report = owned(("Job", "nightly-1", "j1"))
    book(Booker(engine), report)
    async with client_of(cluster.answer) as client:
        owners = OwnerResolver(engine, client, {})
        owners.see(report)
        cluster.status = 503
        assert await owners.step() == 0
        cluster.status = 0
        assert await owners.step() == 1
        assert await owners.step() == 0
    assert workloads(engine) == ["CronJob/nightly"]


async def test_a_right_that_is_missing_is_told_once_and_harms_nothing(
    engine: sa.Engine, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.status = 403
    assert await found(engine, cluster, owned(("Job", "a", "1"), ("Job", "b", "2"))) == 0
    assert workloads(engine) == ["Job/a", "Job/b"]
    assert [r.message for r in caplog.records] == [
        "owners of Job cannot be read and are not read again until a restart: no"
    ]


@pytest.mark.parametrize("name", ["../../../../api/v1/secrets", "..", "a/b", "A", "x?y=z", "%2e"])
async def test_a_name_that_no_object_can_have_is_never_asked_for(
    engine: sa.Engine, cluster: Cluster, name: str
) -> None:
    assert await found(engine, cluster, owned(("Job", name, "j"))) == 0
    assert cluster.asked == []


async def test_very_many_are_read_as_a_list(engine: sa.Engine, cluster: Cluster) -> None:
    names = [("Job", f"run-{index}", f"uid-{index}") for index in range(300)]
    for _, name, uid in names:
        cluster.add(f"{JOBS}/{name}", uid, ("CronJob", "many", "c", True))
    assert await found(engine, cluster, owned(*names)) == 300
    assert cluster.asked == ["/apis/batch/v1/jobs"]
    assert set(workloads(engine)) == {"CronJob/many"}


async def test_a_list_of_very_many_objects_takes_the_memory_of_a_page_and_not_of_all(engine: sa.Engine) -> None:
    pages, of_a_page, asked = 20, 125, list[str]()
    fields = {f"f:field-{n}": {"f:more": {}} for n in range(40)}  # some 10 KiB of each object when it is parsed

    def an_object(number: int) -> dict[str, object]:
        owner = {"kind": "Deployment", "name": f"web-{number}", "uid": f"owner-{number}", "controller": True}
        managed = [{"manager": f"m-{number}", "fieldsV1": fields}]
        uid = f"uid-{number}"
        return {"metadata": {"uid": uid, "ownerReferences": [owner], "managedFields": managed}}

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        page = int(request.query.get("continue", "0"))
        items = [an_object(page * of_a_page + n) for n in range(of_a_page)]
        token = str(page + 1) if page + 1 < pages else ""
        return web.json_response({"items": items, "metadata": {"continue": token}})

    names = [("ReplicaSet", f"run-{number}", f"uid-{number}") for number in range(0, pages * of_a_page, 10)]
    report = owned(*names)
    book(Booker(engine), report)
    async with client_of(answer) as client:
        owners = OwnerResolver(engine, client, {})
        owners.see(report)
        tracemalloc.start()
        try:
            assert await owners.step() == len(names) == 250
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(asked) == pages
    assert set(workloads(engine)) == {f"Deployment/web-{number}" for number in range(0, pages * of_a_page, 10)}
    assert most < 10 * 2**20  # all of them take more than 25 MiB


async def test_kinds_that_are_configured_are_climbed_too_and_a_circle_ends(engine: sa.Engine, cluster: Cluster) -> None:
    rays = "/apis/ray.io/v1/namespaces/team-a/rayclusters"
    cluster.add(f"{rays}/r", "r", ("RayJob", "tune", "t", True))
    cluster.add(f"{rays}/loop", "l", ("RayCluster", "loop", "l", True))
    report = owned(("RayCluster", "r", "r"), ("RayCluster", "loop", "l"))
    assert await found(engine, cluster, report, more={"RayCluster": "ray.io/v1/rayclusters"}) == 1
    assert workloads(engine) == ["RayCluster/loop", "RayJob/tune"]


async def test_owners_of_pods_that_are_gone_are_forgotten(engine: sa.Engine, cluster: Cluster) -> None:
    for name, uid in (("a", "1"), ("b", "2")):
        cluster.add(f"{JOBS}/{name}", uid, ("CronJob", "nightly", "c", True))
    await found(engine, cluster, owned(("Job", "a", "1"), ("Job", "b", "2")))
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM pod WHERE controller_uid = '1'"))
    drop_orphans(engine, BatchDeleter(engine))
    with engine.connect() as connection:
        assert list(connection.scalars(sa.text("SELECT uid FROM owner"))) == ["2"]


FORGED = [
    ("Deployment", "../../other/deployments/victim", "d1"),
    ("Deployment", "web?fieldManager=x", "d1"),
    ("Deployment", "web\x1b[31m", "d1"),
    ("Depl\nyment", "web", "d1"),
    ("Deployment", "web\u202egnp", "d1"),
    ("Deployment", "web", "d1/../../x"),
    ("Deployment", "x" * 300, "d1"),
    ("", "web", "d1"),
]


@pytest.mark.parametrize("owner", FORGED)
async def test_an_owner_that_no_object_can_be_is_not_stored(
    engine: sa.Engine, cluster: Cluster, owner: tuple[str, str, str]
) -> None:
    cluster.add(f"{SETS}/web-1", "s1", (*owner, True))
    report = owned(("ReplicaSet", "web-1", "s1"))
    assert book(Booker(engine), report) == [BookingResult.STORED]
    async with client_of(cluster.answer) as client:
        owners = OwnerResolver(engine, client, {})
        owners.see(report)
        assert await owners.step() == 0
    assert workloads(engine) == ["ReplicaSet/web-1"]


def test_a_pod_whose_controller_no_object_can_be_counts_by_itself(engine: sa.Engine) -> None:
    """Whoever creates a pod writes its ownerReferences: no tenant can have the node's report refused by them."""
    booker = Booker(engine)
    forged = [("Job", "a/../b", "u1"), ("J b", "x", "u2"), ("Job", "x", "u 3"), ("Job", "train", "u4")]
    assert book(booker, owned(*forged)) == [BookingResult.STORED]
    assert workloads(engine) == ["Job/train", "Pod/pod-0", "Pod/pod-1", "Pod/pod-2"]
    assert booker.ids.owners_left_out == 3
