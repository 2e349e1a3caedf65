"""The conditions EnforcementEffective and FiguresExact: what is limited about a budget that is evaluated. No I/O.

Each names everything that holds, in its message. Its reason is the first of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from carbonbudget_operator.api.budget_status import LOCATION_STANDS_IN
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.api.wire_names import ENFORCEMENT_LABEL
from carbonbudget_operator.controller.status_conditions import (
    ENFORCEMENT_EFFECTIVE,
    FIGURES_EXACT,
    MOST_NAMESPACES,
    NAMESPACES_LEFT_OUT,
    DesiredCondition,
)

_SHOWN_NAMESPACES: Final = 3
_Limitation = tuple[str, str]  # reason and sentence


def enforcement_effective(unenforced: Sequence[str], ignored_labels: Mapping[str, str]) -> DesiredCondition:
    """EnforcementEffective: whether kinds and labels of namespaces do what was written.

    `unenforced`: kinds of enforce.kinds that this cluster does not enforce. `ignored_labels`: namespaces whose label of
    enforcement has no effect, with the label's value.
    """
    found: list[_Limitation] = []
    if unenforced:
        sentence = (
            f"{', '.join(unenforced)} of enforce.kinds {'is' if len(unenforced) == 1 else 'are'} not enforced in this "
            "cluster: mistyped, or missing from the chart's enforcement.kinds"
        )
        found.append(("KindsNotEnforced", sentence))
    if ignored_labels:
        shown = [f"{name} ({ENFORCEMENT_LABEL}={value})" for name, value in ignored_labels.items()][:_SHOWN_NAMESPACES]
        more = f" and {len(ignored_labels) - len(shown)} more" if len(ignored_labels) > len(shown) else ""
        sentence = (
            f"only the value off exempts a namespace, so a label has no effect in {', '.join(shown)}{more}: "
            "set it to off, or remove it"
        )
        found.append(("EnforcementLabelIgnored", sentence))
    fine = "all kinds of enforce.kinds are enforced in this cluster, and no label of a namespace is ignored"
    return _condition(ENFORCEMENT_EFFECTIVE, found, "Effective", fine)


def figures_exact(
    namespaces: tuple[str, ...] | None, namespaces_left_out: bool, pro_rata: Sequence[int], stands_in: bool
) -> DesiredCondition:
    """FiguresExact: whether the figures are of exactly what the budget counts.

    `namespaces_left_out`: more namespaces count than one question can name. `pro_rata`: its start or end, if the ledger
    is not split there. `stands_in`: it is market-based and uses the location's figure for some of its energy.
    """
    found: list[_Limitation] = []
    if stands_in:  # first, because `carbonbudget explain` reads this reason
        sentence = (
            "no contract, supplier's factor, residual mix or claim is known for some or all of its energy: there the "
            "location's figure stands in; see carbonbudget factors"
        )
        found.append((LOCATION_STANDS_IN, sentence))
    if namespaces_left_out:
        sentence = (
            f"more than {MOST_NAMESPACES} namespaces counted in this period: those that were deleted first are "
            "no longer counted; leave namespaceSelector out to count all"
        )
        found.append((NAMESPACES_LEFT_OUT, sentence))
    if namespaces == ():
        found.append(("NoNamespaces", "namespaceSelector selects no namespace: nothing counts"))
    if pro_rata:
        instants = " and ".join(map(format_time, pro_rata))
        sentence = (
            f"the hour around {instants} is counted pro rata in time: the budget was made after it, or its namespace "
            "has too many starts and ends inside hours; a start or end on the full hour is always exact"
        )
        found.append(("CountedProRata", sentence))
    return _condition(FIGURES_EXACT, found, "Exact", "the figures are of exactly what the spec counts")


def _condition(kind: str, found: Sequence[_Limitation], fine: str, sentence: str) -> DesiredCondition:
    if not found:
        return DesiredCondition(kind, "True", fine, sentence)
    return DesiredCondition(kind, "False", found[0][0], "; and ".join(sentence for _, sentence in found))
