"""Whether the windows of a target were computed by the method of its baseline. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.prepared_target import PreparedTarget
from carbonbudget_operator.controller.status_conditions import DesiredCondition
from carbonbudget_operator.controller.target_queries import SpanAnswers
from carbonbudget_operator.targets.counted_method import Method, counting, method_changes, shown_changes

COMPARABLE = "BaselineComparable"
METHOD_CHANGED = "MethodChanged"


@dataclass(frozen=True, slots=True)
class MethodComparison:
    """The settings of a window beside those of the baseline.

    `changes`: as `method_changes` has them. `known`: whether both are known; without that nothing is compared.
    """

    changes: tuple[str, ...]
    known: bool

    @property
    def sentence(self) -> str:
        """Why window and baseline do not compare, and what to do; empty if they do."""
        if not self.changes:
            return ""
        return (
            "the method changed since the baseline was frozen: write a baseline of hours after the change "
            f"({shown_changes(self.changes)})"
        )

    def condition(self, waits: bool) -> DesiredCondition:
        """`waits`: there is no baseline yet."""
        if waits:
            return DesiredCondition(COMPARABLE, "Unknown", "NoBaseline", "there is no baseline yet")
        if self.changes:
            return DesiredCondition(COMPARABLE, "False", METHOD_CHANGED, self.sentence)
        if not self.known:
            sentence = "the method of baseline or window is not recorded: a change of it is not noticed"
            return DesiredCondition(COMPARABLE, "Unknown", "MethodNotRecorded", sentence)
        return DesiredCondition(COMPARABLE, "True", "SameMethod", "the window is computed by the baseline's method")


def compared_method(
    prepared: PreparedTarget, frozen: FrozenBaseline | None, answers: SpanAnswers, span: Period
) -> MethodComparison:
    """The method of a span beside that of the baseline."""
    methods = counted_methods(prepared, answers, span)
    if frozen is None or frozen.method is None or not methods:
        return MethodComparison((), False)
    return MethodComparison(tuple(method_changes(tuple(frozen.method), methods)), True)


def counted_methods(prepared: PreparedTarget, answers: SpanAnswers, span: Period) -> list[Method]:
    """The methods of a span as far as the target's figure depends on them, the newest hour's last."""
    efficiency, include = prepared.terms.efficiency, prepared.spec.include
    found = (counting(one, efficiency, include) for one in answers.methods.get(span, ()))
    return list(reversed(dict.fromkeys(reversed(list(found)))))


def method_in_span(prepared: PreparedTarget, answers: SpanAnswers, span: Period) -> tuple[list[str] | None, str]:
    """The one method of a baseline's span, None where it is not known; or why there is not one."""
    methods = counted_methods(prepared, answers, span)
    if not methods:
        return None, ""
    if changes := method_changes(methods[0], methods[1:]):
        return None, (
            f"the method changed inside the baseline's span: choose a span after the change ({shown_changes(changes)})"
        )
    return list(methods[-1]), ""
