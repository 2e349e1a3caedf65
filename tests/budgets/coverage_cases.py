"""Which budget covers which pods: one table, tried on `budgets.coverage` and on the admission policies.

A budget is of namespace team-a, or a ClusterCarbonBudget. Where the API server cannot be in a case (labels cut, a
namespace's labels not known), `tried` is False and the rule alone is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.api.wire_names import ENFORCEMENT_LABEL
from carbonbudget_operator.budgets.coverage import NAME_LABEL, Covers, Scope

Labels = Mapping[str, str]
YES, NO, NOT_KNOWN = Covers.YES, Covers.NO, Covers.NOT_KNOWN
OWN = "team-a"


@dataclass(frozen=True)
class Budget:
    """A budget as its manifest has it; `counted` are the namespaces that its status names."""

    selector: Mapping[str, Any] | None = None
    cluster: bool = False
    namespace_selector: Mapping[str, Any] | None = None
    per: str = "Selection"
    counted: frozenset[str] = frozenset()

    def scope(self) -> Scope:
        """As the operator reads it."""
        return Scope(
            "" if self.cluster else OWN,
            None if self.selector is None else LabelSelector.model_validate(self.selector),
            None if self.namespace_selector is None else LabelSelector.model_validate(self.namespace_selector),
            self.per == "Workload",
            self.counted,
        )


@dataclass(frozen=True)
class Case:
    """Pods with `labels` in `namespace`, which has `where` (None: not known), against one budget.

    `before`: the labels that they had until an update. `enforced`: whether budgets act in the namespace at all.
    """

    says: str
    budget: Budget
    covers: Covers
    labels: Labels = field(default_factory=dict)
    whole: bool = True
    namespace: str = OWN
    where: Labels | None = field(default_factory=dict)
    before: Labels | None = None
    was_covered: Covers = NO
    enforced: bool = True

    @property
    def tried(self) -> bool:
        """Whether an API server can be in it."""
        return self.whole and self.where is not None

    @property
    def refused(self) -> bool:
        """Whether the policies refuse it while the budget blocks."""
        enters = self.covers is YES and not (self.before is not None and self.was_covered is YES)
        return enters and self.enforced and self.budget.per != "Workload"

    def __str__(self) -> str:
        return self.says


def term(key: str, operator: str, *values: str) -> dict[str, Any]:
    """One expression."""
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def expressed(*terms: dict[str, Any], **match: str) -> dict[str, Any]:
    """A selector of expressions, and of labels that must be equal."""
    return ({"matchLabels": match} if match else {}) | {"matchExpressions": list(terms)}


ALL = Budget()
EMPTY = Budget({})
EQUAL = Budget({"matchLabels": {"team": "ml", "tier": "gold"}})
BLANK = Budget({"matchLabels": {"team": ""}})
IN = Budget(expressed(term("team", "In", "ml", "web")))
NOT_IN = Budget(expressed(term("team", "NotIn", "ml", "web")))
EXISTS = Budget(expressed(term("example.com/team", "Exists")))
ABSENT = Budget(expressed(term("team", "DoesNotExist")))
BOTH = Budget(expressed(term("tier", "NotIn", "free"), team="ml"))
TWICE = Budget(expressed(term("team", "In", "ml", "web"), term("team", "NotIn", "web")))
NEVER = Budget(expressed(term("team", "Exists"), term("team", "DoesNotExist")))
RUNS = Budget({"matchLabels": {"team": "ml"}}, per="Workload")
EVERYWHERE = Budget({"matchLabels": {"team": "ml"}}, cluster=True)
EVERY_EMPTY = Budget(cluster=True, namespace_selector={})
DEPT = Budget(cluster=True, namespace_selector={"matchLabels": {"dept": "ml"}})
DEPT_TEAM = Budget(expressed(term("team", "In", "ml")), True, {"matchLabels": {"dept": "ml"}})
DEPT_IN = Budget(cluster=True, namespace_selector=expressed(term("dept", "In", "ml", "web")))
DEPT_NOT_IN = Budget(cluster=True, namespace_selector=expressed(term("dept", "NotIn", "ml")))
DEPT_EXISTS = Budget(cluster=True, namespace_selector=expressed(term("dept", "Exists")))
NO_DEPT = Budget(cluster=True, namespace_selector=expressed(term("dept", "DoesNotExist")))
BY_NAME = Budget(cluster=True, namespace_selector=expressed(term(NAME_LABEL, "In", OWN)))
BUT_NAME = Budget(cluster=True, namespace_selector=expressed(term(NAME_LABEL, "NotIn", OWN)))
DEPT_RUNS = Budget(cluster=True, namespace_selector={"matchLabels": {"dept": "ml"}}, per="Workload")
COUNTED = Budget(cluster=True, namespace_selector={"matchLabels": {"dept": "ml"}}, counted=frozenset({OWN}))
NAMED_AND_COUNTED = Budget(
    cluster=True, namespace_selector=expressed(term(NAME_LABEL, "NotIn", OWN)), counted=frozenset({OWN})
)
ML, WEB = {"team": "ml"}, {"team": "web"}
OFF = {ENFORCEMENT_LABEL: "off"}

CASES = (
    # No selector, and an empty one: every pod of the namespace, and of no other.
    Case("no selector covers pods with labels", ALL, YES, ML),
    Case("no selector covers pods without labels", ALL, YES),
    Case("a namespace's own budget covers no other namespace", ALL, NO, ML, namespace="team-b"),
    Case("no selector covers pods of which nothing is known", ALL, YES, whole=False),
    Case("an empty selector covers pods with labels", EMPTY, YES, ML),
    Case("an empty selector covers pods without labels", EMPTY, YES),
    Case("an empty selector covers pods of which nothing is known", EMPTY, YES, whole=False),
    # matchLabels
    Case("all of matchLabels are there", EQUAL, YES, ML | {"tier": "gold", "x": "y"}),
    Case("one of matchLabels is missing", EQUAL, NO, ML),
    Case("one of matchLabels differs", EQUAL, NO, ML | {"tier": "free"}),
    Case("one of matchLabels may be among those that were cut", EQUAL, NOT_KNOWN, ML, whole=False),
    Case("one of matchLabels differs, whatever was cut", EQUAL, NO, {"tier": "free"}, whole=False),
    Case("all of matchLabels are there, whatever was cut", EQUAL, YES, ML | {"tier": "gold"}, whole=False),
    Case("an empty value is there", BLANK, YES, {"team": ""}),
    Case("an empty value is not a missing label", BLANK, NO),
    # In
    Case("In with one of its values", IN, YES, WEB),
    Case("In with another value", IN, NO, {"team": "db"}),
    Case("In without the label", IN, NO),
    Case("values differ in upper case", IN, NO, {"team": "ML"}),
    Case("In with a value that is a part of one of its values", IN, NO, {"team": "m"}),
    Case("In, and the label may be among those that were cut", IN, NOT_KNOWN, {"x": "y"}, whole=False),
    # NotIn
    Case("NotIn with one of its values", NOT_IN, NO, ML),
    Case("NotIn with another value", NOT_IN, YES, {"team": "db"}),
    Case("NotIn without the label", NOT_IN, YES),
    Case("NotIn, and the label may be among those that were cut", NOT_IN, NOT_KNOWN, {"x": "y"}, whole=False),
    Case("NotIn with one of its values, whatever was cut", NOT_IN, NO, ML, whole=False),
    # Exists and DoesNotExist
    Case("Exists with any value", EXISTS, YES, {"example.com/team": ""}),
    Case("Exists without the label", EXISTS, NO, ML),
    Case("Exists, and the label may be among those that were cut", EXISTS, NOT_KNOWN, whole=False),
    Case("DoesNotExist without the label", ABSENT, YES, {"x": "y"}),
    Case("DoesNotExist with an empty value", ABSENT, NO, {"team": ""}),
    Case("DoesNotExist, and the label may be among those that were cut", ABSENT, NOT_KNOWN, {"x": "y"}, whole=False),
    Case("DoesNotExist with the label, whatever was cut", ABSENT, NO, ML, whole=False),
    # Several at once
    Case("labels and expressions must both hold", BOTH, YES, ML | {"tier": "gold"}),
    Case("labels hold and an expression does not", BOTH, NO, ML | {"tier": "free"}),
    Case("an expression holds and labels do not", BOTH, NO, {"tier": "gold"}),
    Case("both hold without the label of NotIn", BOTH, YES, ML),
    Case("one label in two expressions that hold", TWICE, YES, ML),
    Case("one label in two expressions of which one does not hold", TWICE, NO, WEB),
    Case("expressions that contradict one another cover nothing with the label", NEVER, NO, ML),
    Case("expressions that contradict one another cover nothing without it", NEVER, NO),
    # Labels that change
    Case("labels that bring a pod in", IN, YES, ML, before={"team": "db"}),
    Case("a label that is added brings a pod in", IN, YES, ML, before={}),
    Case("a label that is taken away brings a pod in", ABSENT, YES, before=ML),
    Case("a label that is taken away brings a pod in, by NotIn", NOT_IN, YES, before=ML),
    Case("labels that take a pod out", IN, NO, {"team": "db"}, before=ML, was_covered=YES),
    Case("labels that change and leave a pod in", IN, YES, WEB, before=ML, was_covered=YES),
    Case("another label changes of a pod that is in", EQUAL, YES, ML | {"tier": "gold", "x": "2"},
         before=ML | {"tier": "gold", "x": "1"}, was_covered=YES),
    Case("two labels are swapped and bring a pod in", EQUAL, YES, {"team": "ml", "tier": "gold"},
         before={"team": "gold", "tier": "ml"}),
    # per: Workload covers the same pods, and refuses nobody else's.
    Case("per: Workload covers what its selector selects", RUNS, YES, ML),
    Case("per: Workload covers nothing else", RUNS, NO, WEB),
    Case("per: Workload in a ClusterCarbonBudget", DEPT_RUNS, YES, where={"dept": "ml"}),
    # ClusterCarbonBudgets
    Case("without a namespaceSelector it covers every namespace", EVERYWHERE, YES, ML),
    Case("without a namespaceSelector its selector counts", EVERYWHERE, NO, WEB),
    Case("without a namespaceSelector it covers a namespace that is not known", EVERYWHERE, YES, ML, where=None),
    Case("an empty namespaceSelector covers every namespace", EVERY_EMPTY, YES, where={"dept": "ml"}),
    Case("an empty namespaceSelector covers a namespace of which nothing is known", EVERY_EMPTY, YES, where=None),
    Case("a namespace with the label", DEPT, YES, where={"dept": "ml"}),
    Case("a namespace with another value", DEPT, NO, where={"dept": "web"}),
    Case("a namespace without the label", DEPT, NO),
    Case("a pod's label is not its namespace's", DEPT, NO, {"dept": "ml"}),
    Case("a namespace whose labels are not known yet", DEPT, NOT_KNOWN, where=None),
    Case("namespace and pod are both selected", DEPT_TEAM, YES, ML, where={"dept": "ml"}),
    Case("the namespace alone is selected", DEPT_TEAM, NO, WEB, where={"dept": "ml"}),
    Case("the pod alone is selected", DEPT_TEAM, NO, ML, where={"dept": "web"}),
    Case("the pod is not selected, whatever its namespace is", DEPT_TEAM, NO, WEB, where=None),
    Case("the namespace is not selected, whatever was cut", DEPT_TEAM, NO, whole=False, where={"dept": "web"}),
    Case("the namespace is selected, and the pod's label may be cut", DEPT_TEAM, NOT_KNOWN, whole=False,
         where={"dept": "ml"}),
    Case("the pod is selected, and its namespace is not known", DEPT_TEAM, NOT_KNOWN, ML, where=None),
    Case("In of namespaces", DEPT_IN, YES, where={"dept": "web"}),
    Case("In of namespaces without the label", DEPT_IN, NO),
    Case("NotIn of namespaces", DEPT_NOT_IN, NO, where={"dept": "ml"}),
    Case("NotIn of namespaces without the label", DEPT_NOT_IN, YES),
    Case("NotIn of a namespace whose labels are not known yet", DEPT_NOT_IN, NOT_KNOWN, where=None),
    Case("Exists of namespaces", DEPT_EXISTS, YES, where={"dept": ""}),
    Case("Exists of namespaces without the label", DEPT_EXISTS, NO),
    Case("DoesNotExist of namespaces", NO_DEPT, NO, where={"dept": "ml"}),
    Case("DoesNotExist of namespaces without the label", NO_DEPT, YES),
    Case("DoesNotExist of a namespace whose labels are not known yet", NO_DEPT, NOT_KNOWN, where=None),
    Case("a namespace by its name", BY_NAME, YES),
    Case("a namespace by its name, whose labels are not known yet", BY_NAME, YES, where=None),
    Case("another namespace than the one that is named", BY_NAME, NO, namespace="team-b"),
    Case("all namespaces but this one", BUT_NAME, NO),
    Case("all namespaces but this one, whose labels are not known yet", BUT_NAME, NO, where=None),
    Case("all namespaces but another one, of which no labels are known", BUT_NAME, YES, namespace="team-b", where=None),
    # Namespaces that a status names stand in while labels are not known, and only then.
    Case("a namespace that counted, whose labels are not known", COUNTED, YES, where=None),
    Case("a namespace that counted and was labelled anew", COUNTED, NO, where={"dept": "web"}),
    Case("a namespace that never counted, whose labels are not known", COUNTED, NOT_KNOWN, namespace="team-b",
         where=None),
    Case("a namespace that counted, and is left out by its name", NAMED_AND_COUNTED, NO, where=None),
    # Namespaces in which nothing has an effect: what was used there counts, and nothing is refused.
    Case("a namespace that is taken out by its label", ALL, YES, where=OFF, enforced=False),
    Case("another value of that label takes nothing out", ALL, YES, where={ENFORCEMENT_LABEL: "on"}),
    Case("a ClusterCarbonBudget where the namespace is out", DEPT, YES, where=OFF | {"dept": "ml"}, enforced=False),
)  # fmt: skip
