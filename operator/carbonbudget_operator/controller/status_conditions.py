"""The conditions of a budget, with reasons that stay the same. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from carbonbudget_core.jsons import at, objects, text
from carbonbudget_operator.api.budget_spec import CarbonBudgetSpec
from carbonbudget_operator.api.budget_status import StatusCondition
from carbonbudget_operator.api.carbonbudget import AnyBudget
from carbonbudget_operator.api.carbontarget import AnyTarget
from carbonbudget_operator.api.times import format_time, instant, seconds
from carbonbudget_operator.budgets.verdict import State

MOST_NAMESPACES: Final = 1000  # in a question to the server, and in a status
_SHOWN_RUNS: Final = 3
EXPECTED: Final = "ExpectedWithinLimit"
CREDITS: Final = "CreditsAvailable"
ENFORCEMENT_EFFECTIVE: Final = "EnforcementEffective"
FIGURES_EXACT: Final = "FiguresExact"
Truth = Literal["True", "False", "Unknown"]
USED_FELL: Final = "UsedFell"
NAMESPACES_LEFT_OUT: Final = "NamespacesLeftOut"
# A new message of these types and reasons causes a write. The messages of the others change with every figure.
_TELLING = frozenset(
    {"Ready", "EnforcementConflict", NAMESPACES_LEFT_OUT, CREDITS, ENFORCEMENT_EFFECTIVE, FIGURES_EXACT}
)


@dataclass(frozen=True, slots=True)
class DesiredCondition:
    """A condition as it should be."""

    type: str
    status: Truth
    reason: str
    message: str


def ready() -> DesiredCondition:
    """Ready: the figures and the verdict are of what the spec counts."""
    return DesiredCondition("Ready", "True", "Evaluated", "the budget is evaluated in each window")


def waiting(sentence: str) -> DesiredCondition:
    """Ready is Unknown: the spec can be evaluated, and nothing of what it counts is known yet."""
    return DesiredCondition("Ready", "Unknown", "WaitingForReports", sentence)


def bad_spec(sentence: str) -> DesiredCondition:
    """Ready is False: the budget or target cannot be evaluated."""
    return DesiredCondition("Ready", "False", "BadSpec", sentence)


def _no_longer_bad(condition: StatusCondition) -> StatusCondition:
    """A condition that nothing is known about yet: not because of the spec, once that was corrected."""
    if condition.reason != "BadSpec":
        return condition
    sentence = "the spec can be evaluated again, and nothing of what it counts is known yet"
    return condition.model_copy(update={"reason": "WaitingForReports", "message": sentence})


def invalid_conditions(
    body: Mapping[str, object], sentence: str, now: int, others: Sequence[str]
) -> list[dict[str, object]]:
    """The conditions of a budget or target that cannot be evaluated: Ready is False, `others` (types) are Unknown.

    `body`: the object as the API server has it, which may not be readable as a whole. `now`: UTC seconds.
    """
    unknown = "nothing is known while the spec cannot be evaluated: the condition Ready says why"
    wanted = [bad_spec(sentence), *(DesiredCondition(kind, "Unknown", "BadSpec", unknown) for kind in others)]
    before = {text(one.get("type")): one for one in objects(at(body, "status").get("conditions"))}
    return [
        {
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": _kept_time(before.get(condition.type), condition.status) or format_time(now),
            "observedGeneration": at(body, "metadata").get("generation"),
        }
        for condition in wanted
    ]


def _kept_time(before: Mapping[str, object] | None, status: Truth) -> object:
    """Since when the condition has this status, as far as it can be read; None if it had another one."""
    if before is None or before.get("status") != status or instant(before.get("lastTransitionTime")) is None:
        return None
    return before.get("lastTransitionTime")


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
    kept = [
        _no_longer_bad(condition).model_dump(mode="json", by_alias=True, exclude_none=True)
        for condition in previous.values()
    ]
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
