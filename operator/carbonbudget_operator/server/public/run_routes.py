"""GET /api/v1/runs and /api/v1/runs/{namespace}/{run}: for those who may get carbonbudgets in the namespace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from carbonbudget_operator.api.run_bodies import RunDetail, RunsAnswer
from carbonbudget_operator.api.wire_names import MEDIA_TYPES
from carbonbudget_operator.api_path import is_label
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.name_rules import is_label_value
from carbonbudget_operator.run_labels import MODEL, MODEL_VERSION, STAGE, parse_labels
from carbonbudget_operator.server.public.public_parameters import (
    NOT_FOUND,
    Cursor,
    FormatName,
    FromText,
    RowLimit,
    ToText,
    WindowText,
    rows_of,
    versions_of,
    window_of,
)
from carbonbudget_operator.server.routes.query_handling import QueryCaller, QueryHandling

# The namespaces that an answer may be about, of those that are named or of all; None for the whole cluster.
Visible = Callable[[Iterable[str], QueryCaller], Awaitable[list[str] | None]]
_DAYS_OF_ONE = "35d"
LabelText = Annotated[str, Query(max_length=253, description="Pods with this value of the label alone")]


def add_run_routes(router: APIRouter, asking: QueryHandling, known: Any, visible: Visible) -> None:
    """Add them to the router of /api/v1; `known` is the dependency that gives the caller."""

    @router.get("/runs", responses=rows_of(RunsAnswer), summary="Runs by the label of their pods")
    async def runs(
        request: Request,
        window: WindowText = "",
        start: FromText = "",
        end: ToText = "",
        namespace: Annotated[str, Query(max_length=4_000, description="Namespaces joined by commas; else all")] = "",
        model: LabelText = "",
        model_version: LabelText = "",
        stage: LabelText = "",
        labels: Annotated[str, Query(max_length=4_000, description="KEY=VALUE,...: pods with all of them")] = "",
        unlabelled: Annotated[bool, Query(description="Pods without a run too, by model; names namespaces")] = False,
        limit: RowLimit = 1_000,
        cursor: Cursor = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        first, last = window_of(window, start, end, int(asking.now()))
        wanted = _labels(labels)
        for key, name, value in (
            (MODEL, "model", model), (MODEL_VERSION, "model_version", model_version), (STAGE, "stage", stage),
        ):  # fmt: skip
            if value:
                if wanted.get(key, value) != value:
                    raise Refusal(400, "malformed", f"labels and {name} name two values of {key}")
                wanted[key] = _label_value(name, value)
        names = [name.strip() for name in namespace.split(",") if name.strip()]
        if unlabelled and not names:
            raise Refusal(400, "malformed", "unlabelled=true reads all pods of a namespace: give namespace with it")
        shown = await visible(names, asker)
        given = {
            "start": first, "end": last, "namespaces": sorted(set(names)) if shown is None and names else shown,
            "labels": sorted(wanted.items()), "unlabelled": unlabelled, "limit": limit, "cursor": cursor,
            "format": form,
        }  # fmt: skip
        return await asker.answer_version("public_runs", given, versions_of(request), MEDIA_TYPES[form])

    @router.get("/runs/{namespace}/{run}", responses=rows_of(RunDetail) | NOT_FOUND, summary="One run and its hours")
    async def one_run(
        request: Request,
        namespace: Annotated[str, Path(max_length=63)],
        run: Annotated[str, Path(max_length=63)],
        window: WindowText = "",
        start: FromText = "",
        end: ToText = "",
        form: FormatName = "json",
        asker: QueryCaller = known,
    ) -> Response:
        first, last = window_of(window or ("" if start or end else _DAYS_OF_ONE), start, end, int(asking.now()))
        await asker.authorize({_namespace(namespace)})
        given = {
            "start": first, "end": last, "namespaces": [namespace], "labels": [], "run": _label_value("run", run),
            "unlabelled": False, "limit": 1, "cursor": "", "format": form,
        }  # fmt: skip
        # By a digest of the answer: its prediction changes with each step that a pod posts, not with the facts alone.
        return await asker.answer_tagged("public_run", given, versions_of(request), MEDIA_TYPES[form])


def _labels(text: str) -> dict[str, str]:
    try:
        return parse_labels(text)
    except ValueError as error:
        raise Refusal(400, "malformed", str(error)) from None


def _label_value(name: str, value: str) -> str:
    if not value or not is_label_value(value):
        raise Refusal(400, "malformed", f"{name} is no value of a label: letters, digits, dots, - and _, 63 at most")
    return value


def _namespace(name: str) -> str:
    if not is_label(name):
        raise Refusal(400, "malformed", "the path names no valid namespace")
    return name
