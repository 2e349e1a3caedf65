"""Sends the objects of `carbonbudget check` to the API server as dry-run creates, with the caller's own rights.

It finds each object's path in the API, and the reason where an answer has no figures. dry_run_answer.py reads the
answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from carbonbudget_core.jsons import at, objects, parse_object, texts
from carbonbudget_operator.api.wire_names import BUDGET, CHECK_MANAGER, GROUP, VERSION
from carbonbudget_operator.api_path import ApiPath
from carbonbudget_operator.cli.dry_run_answer import (
    CheckVerdict,
    DryRunOutcome,
    interpret_answer,
    with_unread_duration,
    without_controller_hint,
)
from carbonbudget_operator.cli.installed_enforcement import InstalledEnforcement, installed_enforcement
from carbonbudget_operator.cli.manifests import ManifestObject, unread_duration
from carbonbudget_operator.kube.client import JSON, ApiResponse, KubeClient, KubeError
from carbonbudget_operator.kube.credentials import Credentials

_APPLY: Final = "application/apply-patch+yaml"
# By the field manager the webhook knows that it is asked what is expected and what is left.
_DRY: Final = {"dryRun": "All", "fieldValidation": "Strict", "fieldManager": CHECK_MANAGER}
# What is replaced, never changed: a change of its template is refused whoever asks.
_REPLACED: Final = ("Job", "Pod")


class DryRunImpossible(Exception):
    """No object can be answered for; one sentence says why and what to do."""


class DryRun:
    """One check. `notes` are what its reader should know beside the verdicts."""

    def __init__(self, credentials: Credentials, namespace: str, timeout_seconds: float) -> None:
        self._client = KubeClient.connect(credentials)
        self._namespace, self._timeout_seconds = namespace, timeout_seconds
        self._kinds: dict[str, Mapping[str, tuple[str, bool]]] = {}
        self._acting = InstalledEnforcement(None)
        self._labels: dict[str, Mapping[str, str] | None] = {}
        self.notes: list[str] = []

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def check_installation(self) -> None:
        """Check that budgets apply in this cluster: where they do not, a dry run that passes means nothing.

        Raises:
            DryRunImpossible: the API server is not there, or neither are our CRD and policy.
        """
        found = await self._ask("GET", ApiPath(GROUP, VERSION))
        if found.status == 404:
            raise DryRunImpossible(
                f"there are no carbon budgets in this cluster: install the carbonbudget chart ({GROUP})"
            )
        if found.status == 401:
            raise DryRunImpossible("the API server does not know who you are: renew your credentials")
        if found.status != 200 or BUDGET.kind not in _kinds(found.text):
            raise DryRunImpossible(f"the API server could not say whether there are carbon budgets: {_said(found)}")
        self._acting = await installed_enforcement(self._read)
        mode = self._acting.mode
        if mode == "Observe":
            raise DryRunImpossible("budgets do not apply in this cluster: the chart's enforcement.mode is Observe")
        if mode == "Warn":
            self.notes.append("nothing is refused in this cluster: the chart's enforcement.mode is Warn")
        elif mode is None:
            self.notes.append("the chart's enforcement.mode cannot be seen with these rights")

    async def attempt(self, entry: ManifestObject) -> DryRunOutcome:
        """Try one object, and return what the API server's answer means."""
        try:
            outcome = await self._attempt(entry)
        except DryRunImpossible as error:
            return with_unread_duration(
                DryRunOutcome(CheckVerdict.UNANSWERABLE, reason=str(error)), unread_duration(entry)
            )
        if entry.made_by:
            outcome = without_controller_hint(outcome)
        if not outcome.figures and outcome.verdict is not CheckVerdict.UNANSWERABLE:
            outcome = replace(outcome, figures=(await self._why_no_figures(entry, outcome),))
        return with_unread_duration(outcome, unread_duration(entry))

    async def _why_no_figures(self, entry: ManifestObject, outcome: DryRunOutcome) -> str:
        """Why the webhook did not say what is expected and what is left, as far as that can be seen."""
        namespace = entry.namespace or self._namespace
        if entry.kind == "CronJob":
            return "a CronJob emits nothing by itself: see the expected emissions of its Job"
        path = await self._path(entry)
        if self._acting.limits(path.group, path.resource) is False:
            return f"no figures: budgets do not apply to {entry.kind} in this cluster"
        if self._acting.leaves_out(namespace, await self._labels_of(namespace)):
            return f"no figures: budgets do not apply in namespace {namespace}"
        if outcome.verdict is CheckVerdict.REFUSED:
            if any("expected " in sentence for sentence in outcome.carbon):
                return "the refusal states what is expected and what is left"
            return "what is expected is not known: the refusal came before that was asked"
        if any("expected " in sentence for sentence in outcome.carbon):
            return "the warning states what is expected and what is left"
        if outcome.exists and entry.kind not in _REPLACED:
            return "nothing more is expected: it is there already and does not grow by this"
        return "what is expected is not known: the webhook did not answer; it is not running, or of an earlier version"

    async def _labels_of(self, namespace: str) -> Mapping[str, str] | None:
        """A namespace's labels; None where they may not be read."""
        if namespace not in self._labels:
            status, found = await self._read(ApiPath("", "v1", "namespaces", name=namespace))
            self._labels[namespace] = texts(at(found, "metadata").get("labels")) if status == 200 else None
        return self._labels[namespace]

    async def _attempt(self, entry: ManifestObject) -> DryRunOutcome:
        path = await self._path(entry)
        created = interpret_answer(await self._ask("POST", path, entry.manifest), entry.kind)
        if created.verdict is not CheckVerdict.REFUSED or not entry.name or entry.kind in _REPLACED:
            return created
        # It may not be created anew. If it is there, applying it is a change, to which another rule applies (growth,
        # never a rollout): a server-side apply is asked, which may be refused for want of the right to patch, or
        # create where there is nothing, and then the first answer counts.
        applied = await self._ask(
            "PATCH", path.at(path.namespace, entry.name), entry.manifest, _APPLY, {"force": "true"}
        )
        changed = interpret_answer(applied, entry.kind)
        if applied.status != 200 or changed.verdict is CheckVerdict.UNANSWERABLE:
            return created
        return replace(changed, exists=True)

    async def _path(self, entry: ManifestObject) -> ApiPath:
        version = entry.api_version
        if version not in self._kinds:
            answer = await self._ask("GET", ApiPath.of_version(version))
            if answer.status not in (200, 404):
                raise DryRunImpossible(f"the API server could not say what {version} holds: {_said(answer)}")
            self._kinds[version] = _kinds(answer.text) if answer.status == 200 else {}
        if entry.kind not in self._kinds[version]:
            raise DryRunImpossible(f"this cluster knows no kind {entry.kind} of {version}")
        plural, namespaced = self._kinds[version][entry.kind]
        return ApiPath.of_version(version, plural).at((entry.namespace or self._namespace) if namespaced else None)

    async def _read(self, path: ApiPath) -> tuple[int, Mapping[str, object]]:
        answer = await self._ask("GET", path)
        return answer.status, parse_object(answer.text) if answer.status == 200 else {}

    async def _ask(
        self,
        method: str,
        path: ApiPath,
        body: Mapping[str, object] | None = None,
        content_type: str = JSON,
        more: Mapping[str, str] | None = None,
    ) -> ApiResponse:
        params = None if body is None else _DRY | dict(more or {})
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._client.exchange(method, path, body, params, content_type)
        except TimeoutError:
            raise DryRunImpossible(f"no answer from the API server within {self._timeout_seconds:g} s") from None
        except KubeError as error:
            raise DryRunImpossible(error.reason) from None


def _kinds(text: str) -> dict[str, tuple[str, bool]]:
    """The plural of each kind in a discovery document, and whether the kind is of a namespace."""
    return {
        str(one.get("kind")): (str(one.get("name")), one.get("namespaced") is True)
        for one in objects(parse_object(text).get("resources"))
        if "/" not in str(one.get("name"))  # a subresource
    }


def _said(answer: ApiResponse) -> str:
    if answer.status == 200:
        return "its answer is no list of kinds"
    return f"{answer.status} {answer.reason}".strip()
