"""What questions about budgets and questions about targets share: namespaces, labels, and what cannot be answered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.budgets.coverage import asked_labels
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ledger.selected_labels import Asked
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE


class NamespaceQuery(Protocol):
    """One question about pods of some namespaces."""

    @property
    def id(self) -> str:
        """The object that it is about, for sentences."""

    @property
    def namespaces(self) -> Sequence[str]:
        """Their names, or EVERY_NAMESPACE alone."""

    @property
    def selector(self) -> LabelSelector | None:
        """The pods that count; None for all."""


def read_namespaces(asked: Iterable[NamespaceQuery]) -> set[str]:
    """The namespaces that the caller must be allowed to read.

    An empty name is no namespace: only a caller that may read all namespaces may send it.
    """
    return {name or EVERY_NAMESPACE for query in asked for name in query.namespaces}


def selected_labels(asked: Iterable[NamespaceQuery]) -> Iterator[Asked]:
    """The labels that the answers depend on, for the ledger to keep."""
    for query in asked:
        for key, values in asked_labels(query.selector):
            yield query.namespaces, key, values


def check_namespaces(query: NamespaceQuery) -> None:
    """Refuse names beside the one that stands for all of them. Raises Refusal 422."""
    if EVERY_NAMESPACE in query.namespaces and len(query.namespaces) > 1:
        raise Refusal(422, "unanswerable", f"{query.id}: * stands for every namespace, so name no other beside it")


def check_order(query_id: str, start: int, end: int) -> None:
    """Refuse a span that ends before it starts. Raises Refusal 422."""
    if end <= start:
        raise Refusal(422, "unanswerable", f"{query_id}: end must be after start")
