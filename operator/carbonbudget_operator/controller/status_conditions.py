"""The conditions of a budget, with reasons that stay the same. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from carbonbudget_core.jsons import at, objects
from carbonbudget_operator.api.budget_spec import CarbonBudgetSpec
from carbonbudget_operator.api.budget_status import KINDS_NOT_ENFORCED, LOCATION_STANDS_IN
from carbonbudget_operator.api.carbonbudget import AnyBudget
from carbonbudget_operator.api.carbontarget import AnyTarget
from carbonbudget_operator.api.times import format_time, seconds
from carbonbudget_operator.api.wire_names import ENFORCEMENT_LABEL
from carbonbudget_operator.budgets.verdict import State

_SHOWN_NAMESPACES: Final = 3
MOST_NAMESPACES: Final = 1000  # in a question to the server, and in a status
_SHOWN_RUNS: Final = 3
EXPECTED: Final = "ExpectedWithinLimit"
CREDITS: Final = "CreditsAvailable"
Truth = Literal["True", "False", "Unknown"]
USED_FELL: Final = "UsedFell"
NAMESPACES_LEFT_OUT: Final = "NamespacesLeftOut"
# A new message of these types and reasons causes a write. The messages of the others change with every figure.
_TELLING = frozenset({"Ready", "EnforcementConflict", NAMESPACES_LEFT_OUT, CREDITS})


@dataclass(frozen=True, slots=True)
class DesiredCondition:
    """A condition as it should be."""

    type: str
    status: Truth
    reason: str
    message: str


def ready(
    namespaces: tuple[str, ...] | None,
    namespaces_left_out: bool,
    unenforced: tuple[str, ...] = (),
    pro_rata: Sequence[int] = (),
    stands_in: bool = False,
    ignored_labels: Mapping[str, str] = MappingProxyType({}),
) -> DesiredCondition:
    """Ready: the budget is evaluated. `namespaces_left_out`: more namespaces count than one question can name.

    `unenforced`: kinds of enforce.kinds that this cluster does not enforce. `pro_rata`: its start or end, if the ledger
    is not split there. `stands_in`: it is market-based and uses the location's figure for some of its energy.
    `ignored_labels`: namespaces whose label of enforcement has no effect, with the label's value.
    """
    if namespaces_left_out:
        sentence = (
            f"more than {MOST_NAMESPACES} namespaces counted in this period: those that were deleted first are "
            "no longer counted; leave namespaceSelector out to count all"
        )
        return DesiredCondition("Ready", "True", NAMESPACES_LEFT_OUT, sentence)
    if namespaces == ():
        return DesiredCondition(
            "Ready", "True", "NoNamespaces", "namespaceSelector selects no namespace: nothing counts"
        )
    if unenforced:
        sentence = (
            f"{', '.join(unenforced)} of enforce.kinds {'is' if len(unenforced) == 1 else 'are'} not enforced in this "
            "cluster: mistyped, or missing from the chart's enforcement.kinds"
        )
        return DesiredCondition("Ready", "True", KINDS_NOT_ENFORCED, sentence)
    if ignored_labels:
        shown = [f"{name} ({ENFORCEMENT_LABEL}={value})" for name, value in ignored_labels.items()][:_SHOWN_NAMESPACES]
        more = f" and {len(ignored_labels) - len(shown)} more" if len(ignored_labels) > len(shown) else ""
        sentence = (
            f"only the value off exempts a namespace, so a label has no effect in {', '.join(shown)}{more}: "
            "set it to off, or remove it"
        )
        return DesiredCondition("Ready", "True", "EnforcementLabelIgnored", sentence)
    if pro_rata:
        instants = " and ".join(map(format_time, pro_rata))
        sentence = (
            f"the hour around {instants} is counted pro rata in time: the budget was made after it, or its namespace "
            "has too many starts and ends inside hours; a start or end on the full hour is always exact"
        )
        return DesiredCondition("Ready", "True", "CountedProRata", sentence)
    if stands_in:
        sentence = (
            "no contract, supplier's factor, residual mix or claim is known for some or all of its energy: there the "
            "location's figure stands in; see carbonbudget factors"
        )
        return DesiredCondition("Ready", "True", LOCATION_STANDS_IN, sentence)
    return DesiredCondition("Ready", "True", "Evaluated", "the budget is evaluated in each window")


def bad_spec(sentence: str) -> DesiredCondition:
    """Ready is False: the budget or target cannot be evaluated."""
    return DesiredCondition("Ready", "False", "BadSpec", sentence)


def invalid_conditions(body: Mapping[str, object], sentence: str, now: int) -> list[dict[str, object]]:
    """The only condition of a budget or target that cannot be evaluated: Ready is False, for the first time at `now`.

    `body`: the object as the API server has it, which may not be readable as a whole.
    """
    condition = bad_spec(sentence)
    before = next((one for one in objects(at(body, "status").get("conditions")) if one.get("type") == "Ready"), {})
    kept = before.get("lastTransitionTime") if before.get("status") == condition.status else None
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": kept or format_time(now),
            "observedGeneration": at(body, "metadata").get("generation"),
        }
    ]


def data_complete(
    coverage_percent: int, lost: bool, missing: bool, data_through: int, pods_without_agent: int = 0
) -> DesiredCondition:
    """DataComplete: whether the figures are complete, and what is missing if not."""
    if lost:
        sentence = (
            "the ledger has less than it had, so the last verdict stands: restore the ledger (carbonbudget ledger "
            "check says more), or delete the budget and create it again; the next period starts from zero"
        )
        return DesiredCondition("DataComplete", "False", USED_FELL, sentence)
    if missing:
        sentence = f"not every node has reported since {format_time(data_through)}: see the agents' log"
        return DesiredCondition("DataComplete", "False", "Stale", sentence)
    sentence = f"{coverage_percent} % of the nodes' time was reported"
    if coverage_percent < 99:
        return DesiredCondition("DataComplete", "False", "Gaps", sentence)
    if pods_without_agent:
        pods = "1 pod" if pods_without_agent == 1 else f"{pods_without_agent} pods"
        sentence += f", and {pods} of its namespaces are on nodes that cannot run an agent: no figure has their energy"
        return DesiredCondition("DataComplete", "False", "NotMetered", sentence)
    return DesiredCondition("DataComplete", "True", "Complete", sentence)


def within_budget(state: State, message: str) -> DesiredCondition:
    """WithinBudget: False once the limit is used up."""
    status: Truth = "Unknown" if state is State.UNKNOWN else "False" if state is State.EXCEEDED else "True"
    return DesiredCondition("WithinBudget", status, state.value, message)


def enforcement_conflict(sentence: str, managed: bool = False) -> DesiredCondition:
    """EnforcementConflict: whether somebody reverts a suspension, or another controller decides when Jobs run."""
    if sentence and managed:
        return DesiredCondition("EnforcementConflict", "True", "ManagedElsewhere", sentence)
    if sentence:
        return DesiredCondition("EnforcementConflict", "True", "Reverted", sentence)
    return DesiredCondition("EnforcementConflict", "False", "NoConflict", "nobody reverts what this budget asks for")


def expected_within_limit(sentences: Sequence[str]) -> DesiredCondition:
    """ExpectedWithinLimit, of a budget per workload: False while runs are expected to exceed its limit."""
    if not sentences:
        sentence = "no run within the limit that tells its progress is expected to exceed it"
        return DesiredCondition(EXPECTED, "True", "NoneExpectedOver", sentence)
    more = f"; and {len(sentences) - _SHOWN_RUNS} more" if len(sentences) > _SHOWN_RUNS else ""
    return DesiredCondition(EXPECTED, "False", "ExpectedOver", "; ".join(sentences[:_SHOWN_RUNS]) + more)


def children_fit(count: int, allocated: str, limit: str, fits: bool) -> DesiredCondition:
    """Overallocated: whether the limits of the budgets that name this one as their parent are more than its own."""
    budgets = "1 budget names" if count == 1 else f"{count} budgets name"
    sentence = f"{budgets} this one as parent, with limits of {allocated} together; its own limit is {limit}"
    if fits:
        return DesiredCondition("Overallocated", "False", "Fits", sentence)
    sentence += ": lower their limits or raise this one (each is evaluated by itself, so nothing is refused for this)"
    return DesiredCondition("Overallocated", "True", "LimitsExceedParent", sentence)


def merged(budget: AnyBudget | AnyTarget, now: int, wanted: Iterable[DesiredCondition]) -> list[dict[str, object]]:
    """The wanted conditions, and the previous ones of other types; a time changes only with its status."""
    previous = {condition.type: condition for condition in budget.status.conditions or ()}
    made: list[dict[str, object]] = []
    for condition in wanted:
        before = previous.pop(condition.type, None)
        since = before.last_transition_time if before is not None and before.status == condition.status else None
        made.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": format_time(seconds(since) if since else now),
                "observedGeneration": budget.metadata.generation,
            }
        )
    if not isinstance(budget.spec, CarbonBudgetSpec) or budget.spec.per != "Workload":
        previous.pop(EXPECTED, None)
    if not isinstance(budget.spec, CarbonBudgetSpec) or not budget.spec.credits:
        previous.pop(CREDITS, None)
    kept = [c.model_dump(mode="json", by_alias=True, exclude_none=True) for c in previous.values()]
    return made + kept


def visible_part(conditions: object) -> set[tuple[object, ...]]:
    """The parts of conditions of which a change causes a write."""
    return {
        (
            item.get("type"),
            item.get("status"),
            item.get("reason"),
            item.get("message") if {item.get("type"), item.get("reason")} & _TELLING else "",
        )
        for item in objects(conditions)
    }
