"""Decides whether work is allowed, allowed with warnings, or refused, from its budgets and the time. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from carbonbudget_operator.admission.reviewed_work import ReviewedWork
from carbonbudget_operator.admission.webhook_budget import WebhookBudget
from carbonbudget_operator.api.kubernetes_event import InvolvedObject
from carbonbudget_operator.api.wire_names import EXPECTED_DURATION_ANNOTATION
from carbonbudget_operator.budgets.expected_emissions import ExpectedEmissions, NoExpectation
from carbonbudget_operator.budgets.quantity import exact_mass, format_beside, format_pair
from carbonbudget_operator.budgets.verdict import State
from carbonbudget_operator.budgets.workload_demand import no_duration

MAX_WARNINGS: Final = 3
MAX_LENGTH: Final = 256  # the API server cuts longer ones
ALWAYS_WARNED: Final = ("Job", "Pod")
_WARNS: Final = (State.WARNING, State.EXCEEDED)

Mode = Literal["Observe", "Warn", "Enforce"]
Outcome = Literal["allowed", "warned", "refused"]
# The expected emissions of the work under a budget, or why there are none.
Expectation = Callable[[WebhookBudget], ExpectedEmissions | NoExpectation]
_NOTHING: Final = InvolvedObject("", "", "")


@dataclass(frozen=True, slots=True)
class AdmissionDecision:
    """The answer to a review.

    Attributes:
        warnings: sentences that the API server prints.
        refusal: why the work is refused; empty if it is allowed.
        basis: what a refusal is based on: the budget's use, or a projection.
        about: the object that an Event about the decision names.
        figures: sentences that `carbonbudget check` asks for. They are sent as warnings and not counted as such.
    """

    warnings: Sequence[str] = ()
    refusal: str = ""
    basis: Literal["", "Used", "Projected"] = ""
    about: InvolvedObject = _NOTHING
    figures: Sequence[str] = ()

    @property
    def outcome(self) -> Outcome:
        """The answer in one word, for metrics."""
        if self.refusal:
            return "refused"
        return "warned" if self.warnings else "allowed"


def decide_review(
    work: ReviewedWork, budgets: Sequence[WebhookBudget], expected: Expectation, grows: str, mode: Mode, now: int
) -> AdmissionDecision:
    """The answer to new work (`grows` empty) or to growth.

    `budgets` cover the work, are in their period, and are sorted: the strictest first. In mode Warn a refusal becomes a
    warning.
    """
    if mode == "Observe" or work.exempt:
        return AdmissionDecision(about=work.about)
    refusal, basis = _refused_by_use(work, budgets, grows, now, mode), "Used"
    if not refusal and not grows:
        refusal, basis = _refused_by_projection(work, budgets, expected), "Projected"
    if refusal and mode == "Enforce":
        return AdmissionDecision((), refusal, basis, work.about)  # type: ignore[arg-type] # one of the two words
    warnings = [f"would be refused: {refusal}"] if refusal else []
    warned_by = [budget for budget in budgets if warns(budget) and concerned(budget, work.workload_kind.kind)]
    warnings += [budget.candidate.message for budget in warned_by if budget.candidate.message]
    warnings = warnings[:MAX_WARNINGS]
    if not grows:
        warnings += _projection(work, budgets, expected, bool(warned_by))
        warnings += _invalid_duration(work, budgets, expected)
    return AdmissionDecision([cut(warning) for warning in warnings], about=work.about)


def cut(sentence: str) -> str:
    """The sentence, cut to the length that the API server passes on."""
    return sentence if len(sentence) <= MAX_LENGTH else sentence[: MAX_LENGTH - 3] + "..."


def _refused_by_use(work: ReviewedWork, budgets: Sequence[WebhookBudget], grows: str, now: int, mode: Mode) -> str:
    # In mode Warn the controller sets no status.enforcement; the budget's action shows what it would block.
    budget = next(
        (
            b
            for b in budgets
            if b.blocks(work.workload_kind.kind, now) or (mode == "Warn" and b.would_block(work.workload_kind.kind))
        ),
        None,
    )
    if budget is None:
        return ""
    message = budget.candidate.message or f"carbon budget {budget.name} is exceeded"
    growth = f" ({work.workload_kind.kind} {work.name} {grows})" if grows else ""
    account = f" (if {work.account} is a controller, name it in enforcement.controllerAccounts)" if work.account else ""
    return f"{message}{growth}{account}; {budget.where()}"


def _refused_by_projection(work: ReviewedWork, budgets: Sequence[WebhookBudget], expected: Expectation) -> str:
    """The refusal by `basis: Projected`: use and expected emissions of the work together reach the threshold."""
    for budget in budgets:
        blocking = [threshold.at for threshold in budget.projected if threshold.blocks]
        used = 0 if budget.scope.per_workload else budget.used_ug
        if not blocking or work.workload_kind.kind not in budget.kinds or used is None:
            continue
        own = expected(budget)
        if (
            isinstance(own, ExpectedEmissions)
            and own.micrograms
            and (used + own.micrograms) * 100 >= budget.limit_ug * min(blocking)
        ):
            ask = f"; ask {budget.contact}" if budget.contact else ""
            return f"{expectation_sentence(work, budget, own)}{ask}; {budget.where()}"
    return ""


def warns(budget: WebhookBudget) -> bool:
    """Whether it warns now. A budget for each workload does not: its status is about the workload that used most."""
    candidate = budget.candidate
    return not budget.scope.per_workload and bool(candidate.action) and candidate.state in _WARNS


def concerned(budget: WebhookBudget, kind: str) -> bool:
    """Whether the budget warns at the creation of work of a kind."""
    return kind in ALWAYS_WARNED or kind in budget.kinds


def _projection(work: ReviewedWork, budgets: Sequence[WebhookBudget], expected: Expectation, anyway: bool) -> list[str]:
    """The projection under the budget that it exceeds most, if it exceeds one or if a budget warns anyway."""
    found: list[tuple[int, str]] = []
    for budget in budgets:
        used = 0 if budget.scope.per_workload else budget.used_ug
        if used is None or not concerned(budget, work.workload_kind.kind):
            continue
        own = expected(budget)
        if not isinstance(own, ExpectedEmissions):
            continue
        left = budget.limit_ug - used - own.micrograms
        # A threshold of 100 % is reached when nothing is left, `left < 0` only when more than the limit is used.
        reached = any((used + own.micrograms) * 100 >= budget.limit_ug * t.at for t in budget.projected)
        if left < 0 or reached or anyway:
            found.append((left, expectation_sentence(work, budget, own)))
    return [min(found)[1]] if found else []


def _invalid_duration(work: ReviewedWork, budgets: Sequence[WebhookBudget], expected: Expectation) -> list[str]:
    """A warning of an annotated duration that is invalid, and what is used instead, if any budget projects the work."""
    budget = next((budget for budget in budgets if concerned(budget, work.workload_kind.kind)), None)
    if budget is None or not work.duration or work.expected_s:
        return []
    own = expected(budget)
    instead = f"{own.duration} is used instead" if isinstance(own, ExpectedEmissions) else "nothing is projected"
    return [no_duration(EXPECTED_DURATION_ANNOTATION, work.duration, instead)]


def expectation_sentence(work: ReviewedWork, budget: WebhookBudget, own: ExpectedEmissions) -> str:
    """The sentence with the expected emissions, what is left of the budget, and the source of the projection."""
    kind, source = work.workload_kind.kind, "former runs" if own.former else "requests"
    if budget.scope.per_workload:
        expected = format_beside(own.micrograms, budget.limit_ug)
        room = f"allowed {exact_mass(budget.limit_ug)} for each workload"
    else:
        # With as many digits as show which is more.
        expected, left = format_pair(own.micrograms, max(0, budget.limit_ug - (budget.used_ug or 0)))
        room = f"left {left} of {exact_mass(budget.limit_ug)} CO2e"
    return (
        f"carbon budget {budget.name}: expected {expected}, {room} (by the {source} of {kind} {work.name}; "
        f"{accounting_method(budget)})"
    )


def accounting_method(budget: WebhookBudget) -> str:
    """The method of Scope 2 by which the budget counts."""
    return "market-based" if budget.market else "location-based"
