"""Decides whether work is allowed, warned of or refused, from the work, its budgets and the time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Final, Literal

from carbonbudget_operator.admission.budget_view import BudgetView
from carbonbudget_operator.admission.work import ObjectReference, ReviewedWork
from carbonbudget_operator.api.resource_names import EXPECTED_DURATION_ANNOTATION
from carbonbudget_operator.budgets.coverage import Covers, selects
from carbonbudget_operator.budgets.evaluate import State
from carbonbudget_operator.budgets.expected_emissions import ExpectedEmissions, NoExpectation
from carbonbudget_operator.budgets.quantity import exact_mass, format_beside, format_mass, format_pair
from carbonbudget_operator.budgets.strictest import by_strictness
from carbonbudget_operator.budgets.workload_demand import no_duration

MAX_WARNINGS: Final = 3
MAX_LENGTH: Final = 256  # the API server cuts longer ones
ALWAYS_WARNED: Final = ("Job", "Pod")
_WARNS: Final = (State.WARNING, State.EXCEEDED)

Mode = Literal["Observe", "Warn", "Enforce"]
Outcome = Literal["allowed", "warned", "refused"]
# What a budget lets one expect of this work, or why nothing.
Expectation = Callable[[BudgetView], ExpectedEmissions | NoExpectation]
# How a sentence begins that is no warning: what `carbonbudget check` asks for besides the verdict.
FIGURES: Final = "for information: "
_MOST_FIGURES: Final = 5


@dataclass(frozen=True, slots=True)
class AdmissionDecision:
    """The answer. `refusal` is empty where it is allowed; `basis` says on what a refusal rests.

    `figures` are sentences for who asked for them; they warn nobody.
    """

    warnings: Sequence[str] = ()
    refusal: str = ""
    basis: Literal["", "Used", "Projected"] = ""
    about: ObjectReference = field(default=ObjectReference("", "", ""))
    figures: Sequence[str] = ()

    @property
    def outcome(self) -> Outcome:
        """In a word, for metrics."""
        if self.refusal:
            return "refused"
        return "warned" if self.warnings else "allowed"


def decide_review(
    work: ReviewedWork, budgets: Sequence[BudgetView], expected: Expectation, grows: str, mode: Mode, now: int
) -> AdmissionDecision:
    """The answer to new work (`grows` empty) or to growth, under the budgets that hold for it and select it.

    A budget whose period is over, or has not begun, says nothing about now. In mode Warn what would be refused is
    warned of.
    """
    if mode == "Observe" or work.exempt:
        return AdmissionDecision(about=work.about)
    in_period = _strictest_first([budget for budget in budgets if budget.counts(now)])
    refusal, basis = _blocked(work, in_period, grows, now, mode), "Used"
    if not refusal and not grows:
        refusal, basis = _too_much(work, in_period, expected), "Projected"
    if refusal and mode == "Enforce":
        return AdmissionDecision((), refusal, basis, work.about)  # type: ignore[arg-type] # one of the two words
    warnings = [f"would be refused: {refusal}"] if refusal else []
    warned_by = [budget for budget in in_period if warns(budget) and concerned(budget, work.kind)]
    warnings += [budget.candidate.message for budget in warned_by if budget.candidate.message]
    warnings = warnings[:MAX_WARNINGS]
    if not grows:
        warnings += _projection(work, in_period, expected, bool(warned_by)) + _unread(work, in_period, expected)
    return AdmissionDecision([cut(warning) for warning in warnings], about=work.about)


def cut(sentence: str) -> str:
    """At most as long as the API server passes on."""
    return sentence if len(sentence) <= MAX_LENGTH else sentence[: MAX_LENGTH - 3] + "..."


def _strictest_first(budgets: Sequence[BudgetView]) -> list[BudgetView]:
    by_key = {budget.candidate.key: budget for budget in budgets}
    return [by_key[candidate.key] for candidate in by_strictness(budget.candidate for budget in budgets)]


def _blocked(work: ReviewedWork, budgets: Sequence[BudgetView], grows: str, now: int, mode: Mode) -> str:
    # Where budgets do not act the controller puts nothing in force; what would be is said by the action.
    budget = next(
        (b for b in budgets if b.blocks(work.kind, now) or (mode == "Warn" and b.would_block(work.kind))), None
    )
    if budget is None:
        return ""
    message = budget.candidate.message or f"carbon budget {budget.name} is exceeded"
    growth = f" ({work.kind} {work.name} {grows})" if grows else ""
    account = f" (if {work.account} is a controller, name it in enforcement.controllerAccounts)" if work.account else ""
    return f"{message}{growth}{account}; {budget.where()}"


def _too_much(work: ReviewedWork, budgets: Sequence[BudgetView], expected: Expectation) -> str:
    """The refusal by `basis: Projected`: what was used and what the work is expected to emit reach the threshold."""
    for budget in budgets:
        blocking = [threshold.at for threshold in budget.projected if threshold.blocks]
        used = 0 if budget.per_workload else budget.used_ug
        if not blocking or work.kind not in budget.kinds or used is None:
            continue
        own = expected(budget)
        if (
            isinstance(own, ExpectedEmissions)
            and own.micrograms
            and (used + own.micrograms) * 100 >= budget.limit_ug * min(blocking)
        ):
            ask = f"; ask {budget.contact}" if budget.contact else ""
            return f"{_expects(work, budget, own)}{ask}; {budget.where()}"
    return ""


def warns(budget: BudgetView) -> bool:
    """Whether it warns now. A run's own budget names the run that used most: nothing that concerns another."""
    candidate = budget.candidate
    return not budget.per_workload and bool(candidate.action) and candidate.state in _WARNS


def concerned(budget: BudgetView, kind: str) -> bool:
    """Whether whoever creates work of a kind is warned by it at all."""
    return kind in ALWAYS_WARNED or kind in budget.kinds


def _projection(work: ReviewedWork, budgets: Sequence[BudgetView], expected: Expectation, anyway: bool) -> list[str]:
    """The work's own projection, where it does not fit or where a budget warns anyway; by the one it fits least."""
    found: list[tuple[int, str]] = []
    for budget in budgets:
        used = 0 if budget.per_workload else budget.used_ug
        if used is None or not concerned(budget, work.kind):
            continue
        own = expected(budget)
        if not isinstance(own, ExpectedEmissions):
            continue
        left = budget.limit_ug - used - own.micrograms
        # A threshold of 100 % is reached when nothing is left: by at most a microgram less than "over it".
        reached = any((used + own.micrograms) * 100 >= budget.limit_ug * t.at for t in budget.projected)
        if left < 0 or reached or anyway:
            found.append((left, _expects(work, budget, own)))
    return [min(found)[1]] if found else []


def _unread(work: ReviewedWork, budgets: Sequence[BudgetView], expected: Expectation) -> list[str]:
    """A stated duration that is none, and what stands in for it; nothing where no budget asks how long it lasts."""
    budget = next((budget for budget in budgets if concerned(budget, work.kind)), None)
    if budget is None or not work.unread:
        return []
    own = expected(budget)
    instead = f"{own.duration} is used instead" if isinstance(own, ExpectedEmissions) else "nothing is projected"
    return [no_duration(EXPECTED_DURATION_ANNOTATION, work.unread, instead)]


def _expects(work: ReviewedWork, budget: BudgetView, own: ExpectedEmissions) -> str:
    source = "former runs" if own.former else "requests"
    if budget.per_workload:
        expected = format_beside(own.micrograms, budget.limit_ug)
        room = f"allowed {exact_mass(budget.limit_ug)} for each workload"
    else:
        # With the digits that it takes to see which is more.
        expected, left = format_pair(own.micrograms, max(0, budget.limit_ug - (budget.used_ug or 0)))
        room = f"left {left} of {exact_mass(budget.limit_ug)} CO2e"
    return (
        f"carbon budget {budget.name}: expected {expected}, {room} (by the {source} of {work.kind} {work.name}; "
        f"{_basis(budget)})"
    )


def _basis(budget: BudgetView) -> str:
    return "market-based" if budget.market else "location-based"


def projection_sentences(
    work: ReviewedWork, budgets: Sequence[BudgetView], expected: Expectation, mode: Mode, now: int
) -> list[str]:
    """For each budget that selects the work what that is expected to emit and what is left, or why that is not known.

    The strictest first, at most five. Sentences for who asks before creating; nobody is warned by them.
    """
    if mode == "Observe":
        return []
    if work.exempt:
        return [f"{FIGURES}{work.kind} {work.name} is exempt: no carbon budget is asked"]
    in_period = _strictest_first([budget for budget in budgets if budget.counts(now)])
    if not in_period:
        return [f"{FIGURES}no carbon budget that counts now selects {work.kind} {work.name}: nothing limits it"]
    return [cut(f"{FIGURES}{_figures(work, budget, expected(budget))}") for budget in in_period[:_MOST_FIGURES]]


def misplaced(work: ReviewedWork, budgets: Sequence[BudgetView], mode: Mode, now: int) -> list[str]:
    """Budgets that miss the work because their labels stand on the object and not on its pods; at most five."""
    if mode == "Observe" or work.exempt:
        return []
    together = {**work.labels, **work.own_labels}
    missed = [
        budget.name
        for budget in budgets
        if budget.counts(now)
        and selects(budget.scope.selector, together) is Covers.YES
        and selects(budget.scope.selector, work.labels) is Covers.NO
    ]
    return [
        cut(
            f"{FIGURES}carbon budget {name} does not select {work.kind} {work.name}: it goes by the labels of the pod "
            f"template (spec.template.metadata.labels), and only the {work.kind}'s own labels match"
        )
        for name in missed[:_MOST_FIGURES]
    ]


def _figures(work: ReviewedWork, budget: BudgetView, own: ExpectedEmissions | NoExpectation) -> str:
    if (
        isinstance(own, ExpectedEmissions)
        and not own.former
        and work.plan is not None
        and not any(astuple(work.plan.demand))
    ):
        own = NoExpectation.NO_REQUESTS  # a projection of 0 refuses nothing; as a figure it would not be true
    known = budget.per_workload or budget.used_ug is not None
    if isinstance(own, ExpectedEmissions) and known:
        return _expects(work, budget, own)
    if budget.per_workload:
        room = f"allowed {exact_mass(budget.limit_ug)} for each workload"
    elif budget.used_ug is None:
        room = f"not known what is left of {exact_mass(budget.limit_ug)} CO2e, since there are no data now"
    else:
        left = format_mass(max(0, budget.limit_ug - budget.used_ug))
        room = f"left {left} of {exact_mass(budget.limit_ug)} CO2e, {_basis(budget)}"
    if isinstance(own, ExpectedEmissions):
        return f"carbon budget {budget.name}: expected {format_mass(own.micrograms)}, {_basis(budget)}; {room}"
    return f"carbon budget {budget.name}: {room}; nothing is expected of {work.kind} {work.name}: {own}"
