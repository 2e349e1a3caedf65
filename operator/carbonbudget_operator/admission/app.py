"""The webhook's routes: the review, two probes, and the metrics on a port of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from carbonbudget_operator.admission.admission_decision import AdmissionDecision
from carbonbudget_operator.admission.admission_events import AdmissionEvents
from carbonbudget_operator.admission.bodies import MOST_BYTES, BodyTooLarge, ReviewBodies, ReviewBody
from carbonbudget_operator.admission.caches import BudgetCache
from carbonbudget_operator.admission.metrics import AdmissionMetrics
from carbonbudget_operator.admission.projection_cache import now_s
from carbonbudget_operator.admission.review import BadReview, Review, parse_head, parse_review
from carbonbudget_operator.admission.review_handler import ReviewHandler


def make_app(
    judge: ReviewHandler,
    budgets: BudgetCache,
    events: AdmissionEvents,
    metrics: AdmissionMetrics,
    current_at: Callable[[], Mapping[str, float]],
) -> web.Application:
    """The TLS side. `current_at`: up to when each watch is current, as `Watches` says it."""
    bodies = ReviewBodies()

    async def validate(request: web.Request) -> web.Response:
        if "Content-Encoding" in request.headers:
            return _refused(metrics, 415, "the body must not be compressed")
        try:
            body = await bodies.read(request)
        except BodyTooLarge:
            return _refused(metrics, 413, f"the body is longer than {MOST_BYTES} bytes")
        began = time.perf_counter()
        try:
            review, decision = _decide(judge, metrics, body)
        except ValueError as error:  # BadReview and orjson's are ones
            return _refused(metrics, 400, str(error) if isinstance(error, BadReview) else "the body is not JSON")
        if not review.dry_run:
            events.tell(review.namespace, decision, time.monotonic())
        _count(metrics, decision)
        answered = orjson.dumps(answer(review.uid, decision))
        metrics.duration.observe(time.perf_counter() - began)
        return web.Response(body=answered, content_type="application/json")

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        reason = budgets.unready(current_at(), time.time())
        return web.Response(status=503 if reason else 200, text=reason or "ok")

    app = web.Application()
    app.router.add_post("/validate", validate)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def _decide(judge: ReviewHandler, metrics: AdmissionMetrics, body: ReviewBody) -> tuple[Review, AdmissionDecision]:
    """By the whole review; of one that is too large by its beginning. Raises ValueError: it is no review."""
    if not body.too_large():
        review = parse_review(orjson.loads(body.kept))
        return review, judge.judge(review, now_s())
    try:
        review = parse_head(body.kept)
    except BadReview:
        metrics.too_large.labels("unreadable").inc()
        raise
    decision = judge.judge_unread(review, now_s())
    metrics.too_large.labels("refused" if decision.refusal else "allowed").inc()
    return review, decision


def _refused(metrics: AdmissionMetrics, status: int, reason: str) -> web.Response:
    metrics.reviews.labels("bad").inc()
    return web.json_response({"reason": reason}, status=status)


def make_metrics_app(registry: CollectorRegistry) -> web.Application:
    """The plain side: figures without anybody's names."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app


def answer(uid: str, decision: AdmissionDecision) -> dict[str, object]:
    """The AdmissionReview that says it."""
    response: dict[str, object] = {"uid": uid, "allowed": not decision.refusal}
    if decision.warnings or decision.figures:
        response["warnings"] = [*decision.warnings, *decision.figures]
    if decision.refusal:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": decision.refusal}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _count(metrics: AdmissionMetrics, decision: AdmissionDecision) -> None:
    metrics.reviews.labels(decision.outcome).inc()
    if decision.refusal:
        metrics.refusals.labels(decision.basis).inc()
    metrics.warnings.inc(len(decision.warnings))
