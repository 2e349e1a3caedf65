"""Names on the wire: our resources, field managers, media types, and the labels and annotations of objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.api_path import ApiPath

GROUP: Final = "carbonbudget.dev"
VERSION: Final = "v1alpha1"
UNKNOWN_FIELD: Final = "unknown_field"  # the kind of a server's refusal because of a field of a later version

# Names that the API server stores as the writer of a field (field managers): of the controller, of people's commands,
# and of the dry runs of `carbonbudget check`, which the webhook recognizes by this name.
CONTROLLER_MANAGER: Final = "carbonbudget"
KUBECTL_MANAGER: Final = "kubectl-carbon"
CHECK_MANAGER: Final = "carbonbudget-check"

# The formats of rows under /api/v1, by the value of `format`.
MEDIA_TYPES: Final = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """One of our kinds, and where its objects are."""

    kind: str
    plural: str
    short_name: str
    namespaced: bool

    @property
    def collection(self) -> ApiPath:
        """The path of all objects in all namespaces."""
        return ApiPath(GROUP, VERSION, self.plural)

    def path(self, namespace: str, name: str | None = None) -> ApiPath:
        """The path of one object, or of all in a namespace; a cluster-wide kind takes no notice of `namespace`."""
        return self.collection.at(namespace if self.namespaced else None, name)


BUDGET: Final = Resource("CarbonBudget", "carbonbudgets", "cb", True)
CLUSTER_BUDGET: Final = Resource("ClusterCarbonBudget", "clustercarbonbudgets", "ccb", False)
RESOURCES: Final = (BUDGET, CLUSTER_BUDGET)
TARGET: Final = Resource("CarbonTarget", "carbontargets", "ct", True)
CLUSTER_TARGET: Final = Resource("ClusterCarbonTarget", "clustercarbontargets", "cct", False)
TARGETS: Final = (TARGET, CLUSTER_TARGET)
TRANSFER: Final = Resource("CarbonTransfer", "carbontransfers", "ctr", True)

# Of Kubernetes' own kinds, those that `enforce.kinds` may name; the chart's value enforcement.kinds adds to them.
ENFORCED_KINDS: Final = frozenset(
    {"Job", "Pod", "Deployment", "StatefulSet", "ReplicaSet", "DaemonSet", "ReplicationController"}
)

# On budgets, by the controller: the policy's binding selects by it, so that a create pays only where one blocks.
BLOCKING_LABEL: Final = f"{GROUP}/blocking"
# On namespaces, by whoever runs the cluster: "off" exempts a namespace.
ENFORCEMENT_LABEL: Final = f"{GROUP}/enforcement"
# On workloads, by who has the verb `exempt` on carbonbudgets: "true" exempts it.
EXEMPT_LABEL: Final = f"{GROUP}/exempt"
# On Jobs, by their owner: "true" allows suspension (its pods are deleted, so it must resume from checkpoints).
SUSPENDABLE_LABEL: Final = f"{GROUP}/suspendable"
# On Jobs, by the controller alone: "true" while suspended by us; the annotation names the budget, "namespace/name" or
# "name".
SUSPENDED_LABEL: Final = f"{GROUP}/suspended"
SUSPENDED_BY_ANNOTATION: Final = f"{GROUP}/suspended-by"
# On Jobs, by the controller, instants: when it will be suspended (announced when grace begins), when it will be
# resumed (spread, so that not all start at once), and when it was.
SUSPEND_AT_ANNOTATION: Final = f"{GROUP}/suspend-at"
RESUME_AT_ANNOTATION: Final = f"{GROUP}/resume-at"
RESUMED_AT_ANNOTATION: Final = f"{GROUP}/resumed-at"
# On workloads, by their owner: how long it will run, such as "3h" or "90m"; a projection's first choice.
EXPECTED_DURATION_ANNOTATION: Final = f"{GROUP}/expected-duration"
# On Jobs that are created suspended, by their owner: "true" lets the controller choose their start; the annotation is
# the instant by which they should have ended (RFC 3339).
DEFER_LABEL: Final = f"{GROUP}/defer"
FINISH_BY_ANNOTATION: Final = f"{GROUP}/finish-by"
# On deferred Jobs, by the controller: the chosen start, what it follows from (JSON), the budget that holds it back,
# when it was started, and once it has ended what became of what was expected.
DEFERRED_START_ANNOTATION: Final = f"{GROUP}/deferred-start"
DEFERRED_FORECAST_ANNOTATION: Final = f"{GROUP}/deferred-forecast"
DEFERRED_HELD_BY_ANNOTATION: Final = f"{GROUP}/deferred-held-by"
DEFERRED_STARTED_ANNOTATION: Final = f"{GROUP}/deferred-started"
DEFERRED_RESULT_ANNOTATION: Final = f"{GROUP}/deferred-result"
# On workloads, by the controller: what it emitted and drew, under which budget, how that stands.
EMISSIONS_ANNOTATION: Final = f"{GROUP}/emissions"
ENERGY_ANNOTATION: Final = f"{GROUP}/energy"
BUDGET_ANNOTATION: Final = f"{GROUP}/budget"
STATE_ANNOTATION: Final = f"{GROUP}/state"
# On workloads that run, by the controller: the targets that count them and are Behind or Violated.
TARGETS_ANNOTATION: Final = f"{GROUP}/targets"
# Beside those figures: up to when there were data, and LocationBased or MarketBased.
AS_OF_ANNOTATION: Final = f"{GROUP}/as-of"
ACCOUNTING_ANNOTATION: Final = f"{GROUP}/accounting"
# On finished Jobs, by the controller: "true" once its figures are final.
FINAL_ANNOTATION: Final = f"{GROUP}/final"
