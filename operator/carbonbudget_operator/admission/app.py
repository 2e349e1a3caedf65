"""The webhook's routes: the review, two probes, and the metrics on a port of their own."""

from __future__ import annotations

import time

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from carbonbudget_operator.admission.caches import Budgets
from carbonbudget_operator.admission.decide import Decision
from carbonbudget_operator.admission.events import Events
from carbonbudget_operator.admission.judge import Judge
from carbonbudget_operator.admission.metrics import AdmissionMetrics
from carbonbudget_operator.admission.review import BadReview, parse_review
from carbonbudget_operator.admission.table import now_s

_MAX_REVIEW_BYTES = 8 * 2**20  # an object of 1.5 MiB, twice, as JSON


def make_app(judge: Judge, budgets: Budgets, events: Events, metrics: AdmissionMetrics) -> web.Application:
    """The TLS side."""

    async def validate(request: web.Request) -> web.Response:
        body = await request.read()
        began = time.perf_counter()
        try:
            review = parse_review(orjson.loads(body))
        except ValueError as error:  # BadReview and orjson's are ones
            metrics.reviews.labels("bad").inc()
            reason = str(error) if isinstance(error, BadReview) else "the body is not JSON"
            return web.json_response({"reason": reason}, status=400)
        decision = judge.judge(review, now_s())
        if not review.dry_run:
            events.tell(review.namespace, decision, time.monotonic())
        _count(metrics, decision)
        answered = orjson.dumps(answer(review.uid, decision))
        metrics.duration.observe(time.perf_counter() - began)
        return web.Response(body=answered, content_type="application/json")

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        ready = budgets.listed()
        return web.Response(status=200 if ready else 503, text="ok" if ready else "budgets not listed yet")

    app = web.Application(client_max_size=_MAX_REVIEW_BYTES)
    app.router.add_post("/validate", validate)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def make_metrics_app(registry: CollectorRegistry) -> web.Application:
    """The plain side: figures without anybody's names."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app


def answer(uid: str, decision: Decision) -> dict[str, object]:
    """The AdmissionReview that says it."""
    response: dict[str, object] = {"uid": uid, "allowed": not decision.refusal}
    if decision.warnings:
        response["warnings"] = list(decision.warnings)
    if decision.refusal:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": decision.refusal}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _count(metrics: AdmissionMetrics, decision: Decision) -> None:
    metrics.reviews.labels(decision.outcome).inc()
    if decision.refusal:
        metrics.refusals.labels(decision.basis).inc()
    metrics.warnings.inc(len(decision.warnings))
