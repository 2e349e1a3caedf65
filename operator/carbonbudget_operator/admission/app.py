"""The webhook's HTTP routes: reviews and two probes over TLS, and the metrics on a port of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from carbonbudget_operator.admission.admission_decision import AdmissionDecision
from carbonbudget_operator.admission.admission_events import AdmissionEvents
from carbonbudget_operator.admission.budget_cache import BudgetCache
from carbonbudget_operator.admission.metrics import AdmissionMetrics
from carbonbudget_operator.admission.review_bodies import MOST_BYTES, BodyTooLarge, ReviewBodies
from carbonbudget_operator.admission.review_handler import ReviewHandler
from carbonbudget_operator.admission.review_parser import BadReview, parse_head, parse_review
from carbonbudget_operator.admission.tracking_handler import TrackingHandler
from carbonbudget_operator.run_labels import RUN_LABELS

_RUN_LABELS = [label.encode() for label in RUN_LABELS]


def make_app(
    handler: ReviewHandler,
    budgets: BudgetCache,
    events: AdmissionEvents,
    metrics: AdmissionMetrics,
    current_at: Callable[[], Mapping[str, float]],
    tracking: TrackingHandler | None = None,
) -> web.Application:
    """Returns the TLS application. `current_at` returns up to when each watch is current, in UTC seconds.

    `tracking` answers /track; without it there is no such path.
    """
    bodies = ReviewBodies()

    async def validate(request: web.Request) -> web.Response:
        if "Content-Encoding" in request.headers:
            return _refused(metrics, 415, "the body must not be compressed")
        try:
            body = await bodies.read(request)
        except BodyTooLarge:
            return _refused(metrics, 413, f"the body is longer than {MOST_BYTES} bytes")
        began = time.perf_counter()
        too_large, now = body.too_large(), int(time.time())
        try:
            if too_large:
                review = parse_head(body.received)
                decision = handler.decide_by_head(review, now)
                metrics.too_large.labels("refused" if decision.refusal else "allowed").inc()
            else:
                review = parse_review(orjson.loads(body.received))
                decision = handler.decide(review, now)
                if any(label in body.received for label in _RUN_LABELS):  # most reviews name none of them
                    decision = handler.with_label_warnings(review, decision)
        except ValueError as error:  # BadReview and orjson's error are of this type
            if too_large:
                metrics.too_large.labels("unreadable").inc()
            return _refused(metrics, 400, str(error) if isinstance(error, BadReview) else "the body is not JSON")
        if not review.dry_run:
            events.record(decision, time.monotonic())
        metrics.reviews.labels(decision.outcome).inc()
        if decision.refusal:
            metrics.refusals.labels(decision.basis).inc()
        metrics.warnings.inc(len(decision.warnings))
        answered = orjson.dumps(answer(review.uid, decision))
        metrics.duration.observe(time.perf_counter() - began)
        return web.Response(body=answered, content_type="application/json")

    async def track(request: web.Request) -> web.Response:
        assert tracking is not None
        if "Content-Encoding" in request.headers:
            return _refused(metrics, 415, "the body must not be compressed")
        try:
            body = await bodies.read(request)
            answered, outcome = tracking.answer(body)
        except BodyTooLarge:
            return _refused(metrics, 413, f"the body is longer than {MOST_BYTES} bytes")
        except ValueError as error:
            return _refused(metrics, 400, str(error) if isinstance(error, BadReview) else "the body is not JSON")
        metrics.tracked.labels(outcome).inc()
        return web.Response(body=orjson.dumps(answered), content_type="application/json")

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        reason = budgets.unready(current_at(), time.time())
        return web.Response(status=503 if reason else 200, text=reason or "ok")

    app = web.Application()
    app.router.add_post("/validate", validate)
    if tracking is not None:
        app.router.add_post("/track", track)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app


def _refused(metrics: AdmissionMetrics, status: int, reason: str) -> web.Response:
    metrics.reviews.labels("bad").inc()
    return web.json_response({"reason": reason}, status=status)


def make_metrics_app(registry: CollectorRegistry) -> web.Application:
    """Returns the application of the metrics, without TLS. They contain no names of users or objects."""

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain")

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app


def answer(uid: str, decision: AdmissionDecision) -> dict[str, object]:
    """Returns the AdmissionReview that the API server receives."""
    response: dict[str, object] = {"uid": uid, "allowed": not decision.refusal}
    if decision.warnings or decision.figures:
        response["warnings"] = [*decision.warnings, *decision.figures]
    if decision.refusal:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": decision.refusal}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
