"""Whether a budget covers a namespace and the labels of pods in it.

The controller, the webhook, enforcement, the server's answers and the commands all use this rule. The admission policy
has the same rule in CEL, inside the API server; tests/budgets/coverage_cases.py is a table of cases for both.

The answer can be "not known": labels may be cut, and a namespace's labels may not have arrived yet. Each caller decides
what it does then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, Protocol

from carbonbudget_operator.budgets.verdict import refuses_new_work
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE, is_special

# The API server sets it on each namespace, to its name: nobody can leave it out or change it.
# https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-metadata-name
NAME_LABEL: Final = "kubernetes.io/metadata.name"
_ANY_END: Final = "*"  # at the end of a name in the settings: all that begin so
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


class Covers(Enum):
    """An answer."""

    YES = "yes"
    NO = "no"
    NOT_KNOWN = "not known"


# Names of this module: an attribute look-up for each row of the ledger costs time.
_YES, _NO, _NOT_KNOWN = Covers.YES, Covers.NO, Covers.NOT_KNOWN


class Requirement(Protocol):
    """One expression of a label selector."""

    @property
    def key(self) -> str:
        """The label's key."""

    @property
    def operator(self) -> Operator:
        """How the label's value is compared."""

    @property
    def values(self) -> Sequence[str]:
        """For In and NotIn."""


class Selector(Protocol):
    """A label selector as the API has it; `api.selector.LabelSelector` is one."""

    @property
    def match_labels(self) -> Mapping[str, str]:
        """Labels that must be there with these values."""

    @property
    def match_expressions(self) -> Sequence[Requirement]:
        """Expressions that must hold too."""


def selects(selector: Selector | None, labels: Mapping[str, str], whole: bool = True) -> Covers:
    """Whether an object is selected, by the rules of Kubernetes' own selectors; without a selector each one is.

    `whole`: whether `labels` are all that the object has. If not, a label that is not there may still be on it.
    https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
    """
    if selector is None:
        return _YES
    answer = _YES
    for key, value in selector.match_labels.items():
        found = labels.get(key)
        if found is None and not whole:
            answer = _NOT_KNOWN
        elif found != value:
            return _NO
    for requirement in selector.match_expressions:
        found = labels.get(requirement.key)
        if found is None and not whole:
            answer = _NOT_KNOWN
        elif not _holds(requirement, found):
            return _NO
    return answer


def _holds(requirement: Requirement, value: str | None) -> bool:
    """Whether it holds for the label's value; None: the object has no such label."""
    match requirement.operator:
        case "In":
            return value is not None and value in requirement.values
        case "NotIn":  # as in Kubernetes: an object without the label is "not in" too
            return value is None or value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


def asked_labels(selector: Selector | None) -> Iterator[tuple[str, Sequence[str]]]:
    """The labels that the answer depends on: each key, and the values that make a difference.

    An object's other labels, and which other value a key has, do not change the answer.
    """
    if selector is not None:
        for key, value in selector.match_labels.items():
            yield key, (value,)
        for requirement in selector.match_expressions:
            yield requirement.key, requirement.values


def selects_namespace(selector: Selector | None, name: str, labels: Mapping[str, str] | None) -> Covers:
    """Whether a namespace is selected. `labels`: all that it has; None while they are not known. Its name is."""
    if labels is None:
        return selects(selector, {NAME_LABEL: name}, whole=False)
    return selects(selector, labels if NAME_LABEL in labels else {NAME_LABEL: name, **labels})


def among(names: Collection[str], namespace: str) -> bool:
    """Whether a namespace is one of `names`, of which EVERY_NAMESPACE is all that there are.

    Rows that belong to no pod are in no namespace, so EVERY_NAMESPACE does not include them.
    """
    return namespace in names or (EVERY_NAMESPACE in names and not is_special(namespace))


@dataclass(frozen=True, slots=True)
class Scope:
    """The pods that a budget covers.

    `namespace`: its own; empty for a ClusterCarbonBudget. `namespace_selector`: None for every namespace, and always
    in a namespace's own. `counted`: the namespaces that its status names.
    """

    namespace: str
    selector: Selector | None = None
    namespace_selector: Selector | None = None
    per_workload: bool = False
    counted: frozenset[str] = frozenset()

    @property
    def refuses_new_work(self) -> bool:
        """Whether its block refuses new work."""
        return refuses_new_work(self.per_workload)

    def holds_in(self, namespace: str, labels: Mapping[str, str] | None) -> Covers:
        """Whether it covers pods of a namespace. `labels`: the namespace's; None while they are not known.

        While they are not, and its name does not settle it, a namespace that the status names is covered.
        """
        if self.namespace:
            return _YES if self.namespace == namespace else _NO
        answer = selects_namespace(self.namespace_selector, namespace, labels)
        return _YES if answer is _NOT_KNOWN and namespace in self.counted else answer

    def covers(
        self, namespace: str, namespace_labels: Mapping[str, str] | None, labels: Mapping[str, str], whole: bool = True
    ) -> Covers:
        """Whether it covers pods with these labels in a namespace. `whole` as for `selects`."""
        where = self.holds_in(namespace, namespace_labels)
        if where is _NO:
            return _NO
        which = selects(self.selector, labels, whole)
        return which if where is _YES or which is _NO else where

    def names(self, namespaces: Mapping[str, Mapping[str, str]] | None) -> tuple[str, ...] | None:
        """The namespaces that it covers now, sorted; EVERY_NAMESPACE alone for all; None while that is not known.

        `namespaces`: the labels of all that there are; None while they are not known.
        """
        if self.namespace:
            return (self.namespace,)
        if self.namespace_selector is None:
            return (EVERY_NAMESPACE,)
        if namespaces is None:
            return None
        return tuple(sorted(name for name, labels in namespaces.items() if self.holds_in(name, labels) is _YES))


def still_counting(
    live: Iterable[str], counted: Iterable[str], existing: Collection[str], edited: bool
) -> tuple[str, ...]:
    """The namespaces that count in a period: first those that are covered now, then those that were covered earlier.

    A namespace that is deleted or gets other labels continues to count in the period, because its emissions remain.
    An edited selector takes effect at once for namespaces that still exist (`existing`).
    """
    earlier = (name for name in counted if not (edited and name in existing))
    return tuple(dict.fromkeys((*live, *earlier)))


@dataclass(frozen=True, slots=True)
class _Term:
    """A Requirement that this module makes."""

    key: str
    operator: Operator
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Terms:
    """A Selector that this module makes."""

    match_expressions: tuple[_Term, ...]

    @property
    def match_labels(self) -> Mapping[str, str]:
        """None."""
        return {}


@lru_cache(maxsize=8)
def enforced_namespaces(exempt: frozenset[str], label: str) -> Selector:
    """Selects the namespaces in which budgets are enforced: none of `exempt`, and none with `label: "off"`.

    The chart's policies and webhook select by the same two expressions (carbonbudget.enforcedNamespaces). A selector
    knows no prefixes: `has_exempt_prefix` has those of `exempt`.
    """
    names = sorted(name for name in exempt if not name.endswith(_ANY_END))
    return _Terms((_Term(NAME_LABEL, "NotIn", tuple(names)), _Term(label, "NotIn", ("off",))))


def has_exempt_prefix(exempt: frozenset[str], namespace: str) -> bool:
    """Whether `exempt` has the beginning of a namespace's name: `kube-*` is that of all whose names begin with `kube-`.

    The chart's policies and webhook have the same rule as an expression (carbonbudget.notReserved).
    """
    return namespace.startswith(_prefixes(exempt))


@lru_cache(maxsize=8)
def _prefixes(exempt: frozenset[str]) -> tuple[str, ...]:
    return tuple(name.removesuffix(_ANY_END) for name in exempt if name.endswith(_ANY_END))
