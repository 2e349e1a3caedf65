"""What a pod posts and asks about itself, /v1/self/..., and the import of spans from a file: POST /v1/spans/import.

A pod is identified by its projected token alone: the API server states the pod that the token is bound to, and nothing
of another pod can be named in a request. No RBAC is needed for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import astuple
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Counter
from starlette.routing import Route

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.answers.pod_figures import slice_starts
from carbonbudget_operator.ingest.caller_authentication import authenticated, tenant_of
from carbonbudget_operator.ingest.connection_peers import PeerKind
from carbonbudget_operator.ingest.node_report_body import read_body, unpack
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.request_limits import RequestBytes, RequestLimits, RequestShare
from carbonbudget_operator.kube.access_reviews import Caller, CallingPod
from carbonbudget_operator.ledger import span_store
from carbonbudget_operator.ledger.controller_pods import RunPod, pods_by_uid
from carbonbudget_operator.ledger.pod_hours import first_start
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.writer import LedgerWriter
from carbonbudget_operator.printable import is_printable, printable
from carbonbudget_operator.server.known_predictions import KnownPredictions
from carbonbudget_operator.server.question import QueryAllowance, Question
from carbonbudget_operator.server.request_rates import RequestRates
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling, access_answer, parse
from carbonbudget_operator.server.span_inbox import MOST_RECORDS, SpanInbox
from carbonbudget_operator.spans import span_bodies
from carbonbudget_operator.spans.span_bodies import MAX_BYTES, MAX_RESULTS, PostedAnswer, RefusedLine, SelfAnswer
from carbonbudget_operator.spans.span_lines import read_spans, read_units

_MIB: Final = 2**20
_LIMITS: Final = RequestLimits(requests=512, requests_each=128, bytes=64 * _MIB, bytes_each=16 * _MIB, body=MAX_BYTES)
# Answers are made in the processes of people's questions: few of one namespace wait there at once.
_READ_LIMITS: Final = RequestLimits(requests=32, requests_each=4, bytes=32 * _MIB, bytes_each=4 * _MIB, body=0)
_ALLOWANCE: Final = QueryAllowance(1, spans=0, workloads=0, hours=0, answer_bytes=2 * _MIB)
_DAYS: Final = 31 * 24 * HOUR
_MOST_STARTS: Final = 50_000
_SMALL: Final = 16_384  # bytes that are parsed at once, in less than a millisecond
_MAX_MS: Final = 2**50
_LINES: Final = 10  # spans and counts that a request of a namespace may have on average


class SelfRequests:
    """Handles the requests of pods about themselves."""

    def __init__(self, asking: QueryHandling, writer: LedgerWriter, registry: CollectorRegistry) -> None:
        settings = asking.pools.settings
        spans = settings.server.spans
        self._asking, self._pools, self._cluster = asking, asking.pools, settings.cluster
        self._posts = RequestShare("posts of pods", _LIMITS)
        self._reads = RequestShare("questions of pods about themselves", _READ_LIMITS)
        self._rates = RequestRates("pod", spans.requests_per_minute, "server.spans.requests_per_minute")
        self._namespace_rates = RequestRates(
            "namespace", spans.namespace_requests_per_minute, "server.spans.namespace_requests_per_minute"
        )
        # A line that is refused, or that is stored already, costs as much to read as one that is stored.
        self._line_rates = RequestRates(
            "namespace", _LINES * spans.namespace_requests_per_minute,
            f"{_LINES} for each of server.spans.namespace_requests_per_minute", unit="lines",
        )  # fmt: skip
        store = span_store.SpanStore(asking.pools.spans.queries.book.engine, self._cluster, spans.records_per_day)
        self._inbox = SpanInbox(asking.pools.spans, store, writer, asking.now)
        self._predictions = KnownPredictions()
        self._starts: dict[tuple[str, str], int] = {}  # the first slice of pods by namespace and uid, in UTC seconds
        self._records = Counter(
            "carbonbudget_spans_posted", "Spans and unit counts that pods posted, by outcome.", ("outcome",),
            registry=registry,
        )  # fmt: skip
        self._refused = Counter(
            "carbonbudget_pod_requests_refused", "Requests of pods about themselves that were refused, by reason.",
            ("reason",), registry=registry,
        )  # fmt: skip
        for outcome in ("accepted", "refused"):
            self._records.labels(outcome)

    def routes(self) -> Sequence[Route]:
        """Plain Starlette routes: the call of one is cheaper than FastAPI's, and a thousand pods post each minute."""
        results = Route("/v1/self", self._counted(self.results), methods=["GET"])
        (results.methods or set()).discard("HEAD")  # an answer costs as much without its body
        return [
            results,
            Route("/v1/self/spans", self._counted(self.post_spans), methods=["POST"]),
            Route("/v1/self/units", self._counted(self.post_units), methods=["POST"]),
            Route("/v1/self/progress", self._counted(self.post_progress), methods=["POST"]),
        ]

    def _counted(self, handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Refusal as refusal:
                self._refused.labels(refusal.kind).inc()
                raise

        return handled

    async def pod(self, request: Request) -> CallingPod:
        """The pod that asks. Raises Refusal: 401, 403, 429, 503."""
        caller = await authenticated(self._asking.access, request, owner_of=_owner_of)
        if caller.pod is None:
            raise Refusal(
                403, "no_pod", f"{printable(caller.user)} has a token of no pod: use the pod's projected token"
            )
        self._rates.take(f"{caller.pod.namespace}/{caller.pod.name}")
        self._namespace_rates.take(caller.pod.namespace)
        return caller.pod

    async def post_spans(self, request: Request) -> Response:
        """POST /v1/self/spans."""
        pod = await self.pod(request)
        with self._posts.request(f"namespace {pod.namespace}") as hold:
            asked = await self.body(request, hold, span_bodies.PostedSpans)
            self._line_rates.take(pod.namespace, len(asked.spans))
            return await self.take_spans(pod, asked.run, asked.spans)

    async def take_spans(
        self, pod: CallingPod, run: str | None, lines: Sequence[Any], imported: bool = False
    ) -> Response:
        """Store the spans of a pod that can be taken, and answer which were refused."""
        if run is not None and not is_printable(run):
            raise Refusal(422, "malformed", "run: the name has characters that cannot be shown; use printable text")
        now_ms = int(self._asking.now() * 1000)
        first_ms = await self._first_ms(pod, now_ms)
        if imported and first_ms is None:
            days = min(_DAYS // (24 * HOUR), self._pools.settings.server.pod_days)
            raise Refusal(
                404, "no_pod",
                f"the ledger has no hours of a pod {printable(pod.uid)} in namespace {pod.namespace} in the last "
                f"{days} days: check the pod's uid and the namespace",
            )  # fmt: skip
        found, refused = read_spans(lines, now_ms, first_ms or now_ms - _DAYS * 1000)
        if found:
            await self._inbox.put(span_store.Post(pod.namespace, pod.uid, pod.name, run, spans=found))
        return self._answer(len(lines) - len(refused), refused)

    async def post_units(self, request: Request) -> Response:
        """POST /v1/self/units."""
        pod = await self.pod(request)
        with self._posts.request(f"namespace {pod.namespace}") as hold:
            asked = await self.body(request, hold, span_bodies.PostedUnits)
            self._line_rates.take(pod.namespace, len(asked.units))
            now_ms = int(self._asking.now() * 1000)
            first_ms = await self._first_ms(pod, now_ms)
            found, refused = read_units(asked.units, now_ms, first_ms or now_ms - _DAYS * 1000)
            units = [span_store.PostedUnit(u.id, u.name, u.count, u.start_ms, u.end_ms) for u in found]
            for some in _in_posts(units):
                await self._inbox.put(span_store.Post(pod.namespace, pod.uid, pod.name, units=some))
                # A count costs a row for each hour that it touches; one was taken above. What is not stored costs none.
                self._line_rates.charge(pod.namespace, sum(unit.records - 1 for unit in some))
            return self._answer(len(asked.units) - len(refused), refused)

    async def post_progress(self, request: Request) -> Response:
        """POST /v1/self/progress."""
        pod = await self.pod(request)
        with self._posts.request(f"namespace {pod.namespace}") as hold:
            asked = await self.body(request, hold, span_bodies.PostedProgress)
            if not is_printable(asked.unit) or asked.done > asked.total:
                raise Refusal(422, "malformed", "progress: `unit` must be printable, and `done` at most `total`")
            if asked.at_ms > int(self._asking.now() * 1000) + span_bodies.MAX_AHEAD_MS:
                raise Refusal(422, "malformed", "progress: `at_ms` is in the future; set the clock of the node")
            progress = span_store.ProgressPoint(asked.unit, asked.done, asked.total, asked.at_ms)
            await self._inbox.put(span_store.Post(pod.namespace, pod.uid, pod.name, progress=progress))
        now = int(self._asking.now())
        if (known := self._predictions.find(pod.uid, progress, now)) is not None:
            return _json(known)
        with self._reads.request(f"namespace {pod.namespace}") as hold:
            # The namespace is the token's: a run is all of its pods there, and none of another namespace.
            given = {"namespace": pod.namespace, "uid": pod.uid, "point": astuple(progress)}
            made = await self._asked("pod_prediction", pod, given, hold)
        self._predictions.put(pod.uid, progress, now, bytes(made.body))
        return made

    async def results(self, request: Request) -> Response:
        """GET /v1/self."""
        pod = await self.pod(request)
        start_ms, end_ms = _instant(request, "from_ms"), _instant(request, "to_ms")
        now_ms = int(self._asking.now() * 1000)
        if start_ms is not None and not 0 < (now_ms if end_ms is None else end_ms) - start_ms <= _DAYS * 1000:
            raise Refusal(422, "malformed", "from_ms must be before to_ms (default: now), by at most 31 days")
        untracked = SelfAnswer(
            namespace=pod.namespace, pod=pod.name, pod_uid=pod.uid, run=None, tracked=False, capped=False,
            windows_until_ms=0, energy_uj=0, rest_uj=0, spans=[],
        )  # fmt: skip
        given = {
            "uid": pod.uid, "from_ms": start_ms, "to_ms": end_ms, "ids": _ids(request), "none": untracked.model_dump()
        }  # fmt: skip
        with self._reads.request(f"namespace {pod.namespace}") as hold:
            return await self._asked("pod_spans", pod, given, hold)

    async def _asked(self, kind: str, pod: CallingPod, given: dict[str, Any], hold: RequestBytes) -> Response:
        """The answer of a worker process. A namespace's pods have one turn at a time."""
        question, people = Question(kind, int(self._asking.now()), _ALLOWANCE, given=given), self._pools.people
        async with people.turn(f"namespace {pod.namespace}"):
            with self._asking.timed(f"/v1/self {kind}"):
                text = await people.answer(question)
        hold.add(len(text))
        return _json(text)

    async def body(self, request: Request, hold: RequestBytes, kind: type[Any]) -> Any:
        """The parsed body. Raises Refusal: 413, 415, 422."""
        body = await read_body(request, hold, MAX_BYTES)
        text = unpack(body, request.headers.get("Content-Encoding", "").lower(), MAX_BYTES, "body")
        try:
            if len(text) <= _SMALL:
                return parse(kind, text)
            return await self._pools.spans.run(parse, kind, text)
        except Refusal as refusal:
            if refusal.kind != "malformed":
                raise
            raise Refusal(422, "malformed", refusal.reason) from None

    async def _first_ms(self, pod: CallingPod, now_ms: int) -> int | None:
        """The start of the first slice in which the pod was reported; None before its first report."""
        known = self._starts.get((pod.namespace, pod.uid))
        if known is None:
            end = now_ms // 1000 + HOUR

            def find(queries: BudgetUseQueries) -> int | None:
                with queries.book.engine.connect() as connection:
                    pods: list[RunPod] = pods_by_uid(connection, self._cluster, pod.uid)
                    ids = [its.id for its in pods if its.group.namespace == pod.namespace]
                    starts = slice_starts(connection, pod.namespace, end - _DAYS - HOUR, end)
                    return first_start(connection, ids, starts) if ids else None

            known = await self._pools.spans.ask(find)
            if known is None:
                return None
            if len(self._starts) >= _MOST_STARTS:
                self._starts.clear()
            self._starts[pod.namespace, pod.uid] = known
        return known * 1000

    def _answer(self, accepted: int, refused: Sequence[RefusedLine]) -> Response:
        self._records.labels("accepted").inc(accepted)
        self._records.labels("refused").inc(len(refused))
        return Response(
            PostedAnswer(accepted=accepted, refused=list(refused)).model_dump_json(), media_type="application/json"
        )


def _in_posts(units: Sequence[span_store.PostedUnit]) -> Iterator[list[span_store.PostedUnit]]:
    """The counts in posts that are each stored in some ten milliseconds."""
    post: list[span_store.PostedUnit] = []
    records = 0
    for unit in units:
        if post and records + unit.records > MOST_RECORDS:
            yield post
            post, records = [], 0
        post.append(unit)
        records += unit.records
    if post:
        yield post


def _owner_of(caller: Caller) -> tuple[PeerKind, str]:
    """Pods keep their connections, so they have a limit of their own, for each namespace."""
    return (PeerKind.CALLER if caller.pod is None else PeerKind.POD), tenant_of(caller.user)


def _json(text: bytes) -> Response:
    return Response(text, media_type="application/json", headers={"Cache-Control": "no-store"})


def import_routes(asking: QueryHandling, pods: SelfRequests) -> APIRouter:
    """POST /v1/spans/import, for who has the verb `import` on carbonbudgets in the pod's namespace."""
    router, known = APIRouter(), Depends(asking.asker)
    share = RequestShare("imports of spans", RequestLimits(8, 2, 8 * MAX_BYTES, 2 * MAX_BYTES, MAX_BYTES))

    @router.post("/v1/spans/import")
    async def take(request: Request, asker: QueryCaller = known) -> Response:
        with share.request(asker.who) as hold:
            asked = await pods.body(request, hold, span_bodies.ImportedSpans)
            if not await access_answer(asking.access.may_import_figures(asker.caller, asked.namespace)):
                who, where = asker.caller.user, printable(asked.namespace)
                raise Refusal(403, "forbidden", f"{who} may not import carbonbudgets in namespace {where}")
            pod = CallingPod(asked.namespace, "", asked.pod_uid)
            return await pods.take_spans(pod, asked.run, asked.spans, imported=True)

    return router


def _instant(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) > _MAX_MS:
        raise Refusal(422, "malformed", f"{name} must be UTC milliseconds")
    return int(text)


def _ids(request: Request) -> list[str]:
    text = request.query_params.get("ids", "")
    ids = [one for one in text.split(",") if one]
    if len(ids) > MAX_RESULTS:
        raise Refusal(422, "malformed", f"ids has {len(ids)} ids, at most {MAX_RESULTS} are answered at once")
    return ids
