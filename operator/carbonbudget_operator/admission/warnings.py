"""Which warnings a new object gets. Pure: an AdmissionReview and the budgets in, sentences out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.api.carbonbudget import CarbonBudget

MAX_WARNINGS: Final = 3
MAX_LENGTH: Final = 256  # the API server cuts longer ones
_SEVERITY: Final = {"Exceeded": 2, "Warning": 1}


class BadReview(ValueError):
    """A request that is no AdmissionReview; one line says why."""


@dataclass(frozen=True, slots=True)
class NewWork:
    """What is about to be created: where, of which kind, with which pod labels."""

    uid: str
    namespace: str
    kind: str
    labels: Mapping[str, str]


def parse_review(value: object) -> NewWork:
    """What an AdmissionReview asks about. Raises BadReview."""
    request = _mapping(_mapping(value).get("request"))
    uid = request.get("uid")
    if not isinstance(uid, str) or not uid:
        raise BadReview("the body is no AdmissionReview: request.uid is missing")
    kind = str(_mapping(request.get("kind")).get("kind", ""))
    holder = _mapping(request.get("object"))
    if kind != "Pod":  # the labels that count are those its pods will have
        holder = _mapping(_mapping(holder.get("spec")).get("template"))
    labels = _mapping(_mapping(holder.get("metadata")).get("labels"))
    return NewWork(
        uid=uid,
        namespace=str(request.get("namespace", "")),
        kind=kind,
        labels={key: text for key, text in labels.items() if isinstance(text, str)},
    )


def warnings_for(work: NewWork, budgets: Iterable[CarbonBudget]) -> list[str]:
    """The messages of the budgets that warn of this work, the most used first, at most three.

    A budget that blocks it is left out: the refusal that follows carries the same message.
    """
    matching = [
        budget
        for budget in budgets
        if budget.status.state in _SEVERITY
        and budget.status.action
        and (budget.spec.selector is None or budget.spec.selector.matches(work.labels))
        and not _blocks(budget, work)
    ]
    matching.sort(key=lambda b: (-_SEVERITY[str(b.status.state)], -(b.status.percent_used or 0), b.metadata.name))
    return [(budget.status.message or "")[:MAX_LENGTH] for budget in matching[:MAX_WARNINGS]]


def answer(uid: str, warnings: list[str]) -> dict[str, object]:
    """The AdmissionReview that allows, with warnings."""
    response: dict[str, object] = {"uid": uid, "allowed": True}
    if warnings:
        response["warnings"] = warnings
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _blocks(budget: CarbonBudget, work: NewWork) -> bool:
    kinds = budget.spec.enforce.kinds if budget.spec.enforce else ["Job", "Pod"]
    return budget.status.enforcement is not None and work.kind in kinds


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
