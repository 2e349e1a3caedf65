"""The store of Jobs, filled by a watch of a small HTTP server."""

from __future__ import annotations

import asyncio
import json

from aiohttp import web
from aiohttp.test_utils import TestServer
from tests.enforcement.worlds import NOW, Body, finished, job_body, merged

from carbonbudget_operator.enforcement.job_fields import instant, parse_job, patched_job
from carbonbudget_operator.enforcement.job_store import JobStore
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials


async def test_a_watch_fills_it_and_what_ended_unseen_is_noticed() -> None:
    lists = [
        [job_body("a"), job_body("b", status=finished(NOW, NOW - 60)), job_body("c")],
        [job_body("a")],
    ]
    streams: list[list[Body]] = [
        [{"type": "DELETED", "object": job_body("c", status=finished(NOW, NOW - 60))}, {"type": "ERROR", "object": {}}],
        [],
    ]
    done = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"items": lists.pop(0), "metadata": {"resourceVersion": "1"}})
        response = web.StreamResponse()
        await response.prepare(request)
        for event in streams.pop(0):
            await response.write(json.dumps(event).encode() + b"\n")
        if not streams:
            done.set()
            await asyncio.Event().wait()
        return response

    app = web.Application()
    app.router.add_get("/apis/batch/v1/jobs", answer)
    async with TestServer(app) as server:
        client = KubeClient.connect(Credentials(str(server.make_url("")).rstrip("/"), lambda: ""))
        store = JobStore()
        follow = asyncio.create_task(store.follow(client))
        await asyncio.wait_for(done.wait(), 20)
        follow.cancel()
        await client.close()
    assert store.listed
    assert [job.name for job in store.jobs.values()] == ["a"]
    assert {job.name for job in store.deleted.values()} == {"b", "c"}


def test_only_jobs_that_budgets_may_act_on_start_a_round() -> None:
    store = JobStore()
    store.put(parse_job(job_body(labels={})))
    assert not store.changed.is_set()
    store.put(parse_job(job_body(labels={"carbonbudget.dev/suspended": "true"})))
    assert store.changed.is_set()


def test_more_deleted_jobs_than_fit_are_counted_and_not_stored() -> None:
    store = JobStore()
    for n in range(10_002):
        job = parse_job(job_body(uid=f"u{n}", status=finished(NOW, NOW - 1)))
        store.jobs[job.uid] = job
        store._record_deletion(job.uid)
    assert (len(store.deleted), store.deleted_dropped) == (10_000, 2)


def test_an_empty_object_and_odd_fields_are_read_without_an_error() -> None:
    assert parse_job({}).uid == ""
    odd = {"metadata": {"labels": [], "ownerReferences": "x", "managedFields": [None, {}]}, "spec": None, "status": 3}
    assert parse_job(odd).suspended is False


def test_generated_labels_and_foreign_annotations_are_not_stored() -> None:
    job = parse_job(
        job_body(
            template={"controller-uid": "x", "job-name": "y", "project": "a"},
            annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}", "carbonbudget.dev/state": "x" * 999},
        )
    )
    assert job.template_labels == {"project": "a"}
    assert job.annotations == {"carbonbudget.dev/state": "x" * 300}


def test_an_instant_without_a_zone_or_sense_is_none() -> None:
    assert instant("2026-11-24T10:00:00Z") == instant("2026-11-24T11:00:00+01:00")
    assert [instant(text) for text in ("", "soon", "2026-11-24", "2026-11-24T10:00:00")] == [0, 0, 0, 0]


def test_a_failed_job_is_finished_when_its_condition_says() -> None:
    assert parse_job(job_body(status=finished(NOW, NOW - 60, kind="Failed"))).finished_at == NOW
    assert parse_job(job_body()).finished_at == 0


def test_a_job_takes_little_however_large_its_owner_makes_it() -> None:
    """25 suspended Jobs of 1.4 MB each ended the controller at its start, for the whole cluster."""
    body = job_body("huge")
    metadata = body["metadata"]
    metadata["ownerReferences"] = [{"kind": "K" * 400_000, "name": "n" * 400_000, "controller": True}]
    metadata["annotations"] = {"carbonbudget.dev/suspended-by": "x" * 200_000}
    metadata["managedFields"] = [
        {"manager": f"m{n:0128}", "fieldsV1": {"f:spec": {"f:suspend": {}}}} for n in range(5000)
    ]
    labels = {f"{n:05}.{'p' * 247}/{'k' * 63}": "v" * 63 for n in range(3000)}
    body["spec"]["template"] = {"metadata": {"labels": labels}, "spec": {"containers": [{"args": ["x"] * 100_000}]}}
    job = parse_job(body)
    assert len(repr(job)) < 32_000
    assert len(job.template_labels) == 64


def test_after_our_patch_a_job_is_what_the_answers_metadata_and_the_patch_say() -> None:
    before = job_body("a")
    patch: Body = {
        "spec": {"suspend": True},
        "metadata": {
            "labels": {"carbonbudget.dev/suspended": "true"}, "annotations": {"carbonbudget.dev/suspended-by": "t/b"},
        },
    }  # fmt: skip
    after = merged(before, patch)
    after["metadata"]["resourceVersion"] = "99"
    assert patched_job(parse_job(before), patch, {"metadata": after["metadata"]}) == parse_job(after)
