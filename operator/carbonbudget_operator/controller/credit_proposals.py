"""Which targets and budgets take part in credits, by their objects, and the rows of the ledger. No I/O, no clock.

A claim is a row of the ledger under a name that no budget can have. Its key is the target and the window, so the ledger
itself takes each window once. Budget, period and pods of a claim are in its detail.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pydantic import ValidationError

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.adjustment_bodies import Adjustment, AdjustmentGroup, AnsweredAdjustment, BudgetPeriod
from carbonbudget_operator.api.carbontarget import AnyTarget, CarbonTarget, ClusterCarbonTarget
from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.api.target_spec import ClusterCarbonTargetSpec
from carbonbudget_operator.api.target_status import TargetFigure
from carbonbudget_operator.api.times import format_time, seconds
from carbonbudget_operator.budgets.credits import (
    CreditableTarget,
    CreditedBudget,
    CreditTerms,
    SavedWindow,
    WindowClaim,
    credit_periods,
)
from carbonbudget_operator.budgets.limit_in_force import base_limit_ug
from carbonbudget_operator.budgets.period import Calendar, Period, PeriodError, time_zone
from carbonbudget_operator.budgets.quantity import QuantityError
from carbonbudget_operator.controller.budget_store import StoredBudget

# No budget can have this name, so claims of a namespace are apart from its budgets.
CLAIMS_NAME: Final = "/credits"
# Claims are asked for by spans of this length. It is longer than any window (a month), so that what overlaps a window
# begins in the same span or in one beside it.
CLAIM_SPAN_SECONDS: Final = 32 * 86_400
_MAX_DETAIL: Final = 256
_CLAIM: Final = re.compile(r"target ([^ ]+) window ([0-9]+)")
_OF_NAMESPACES: Final = "namespace "  # before a key of namespaceSelector: no label's key has a space


def creditable_targets(bodies: Iterable[Mapping[str, object]]) -> list[CreditableTarget]:
    """The targets, as the API server has them, whose savings may be credited.

    Left out are those without a measured baseline, and those that were edited since their status was written.
    """
    found = []
    for body in bodies:
        model = CarbonTarget if at(body, "metadata").get("namespace") else ClusterCarbonTarget
        try:
            target: AnyTarget = model.model_validate(body)
        except ValidationError:
            continue
        if (one := _creditable(target)) is not None:
            found.append(one)
    return found


def credited_budgets(stored: Iterable[StoredBudget]) -> list[CreditedBudget]:
    """The budgets that credit targets: with a calendar period, and with one limit for all their pods."""
    found = []
    for one in stored:
        if one.missing_spec_reason:
            continue
        try:
            spec = one.budget_object.spec
            if not spec.credits or spec.period is None or spec.per != "Selection":
                continue
            limit_ug, zone = base_limit_ug(one.budget_object), time_zone(spec.time_zone)
        except (ValidationError, QuantityError, PeriodError):
            continue
        terms = [CreditTerms(each.target, each.share, each.cap, each.expires_after) for each in spec.credits]
        calendar = Calendar(spec.period)
        found.append(CreditedBudget(one.namespace, one.name, limit_ug, calendar, zone, spec.accounting, terms))
    return found


def claim_questions(
    budgets: Sequence[CreditedBudget], targets: Iterable[CreditableTarget], now: int
) -> list[BudgetPeriod]:
    """What of the ledger the decision depends on: claims around the targets' windows, and the budgets' periods."""
    by_name = {(target.space, target.name): target for target in targets}
    found: dict[BudgetPeriod, None] = {}
    for budget in budgets:
        for terms in budget.terms:
            target = by_name.get((budget.space, terms.target))
            for window in target.windows if target is not None else ():
                first = window.period.start // CLAIM_SPAN_SECONDS
                for number in range(max(0, first - 1), first + 2):
                    found[_claims_period(budget.space, number)] = None
                for period in credit_periods(budget, terms, window.period, now):
                    found[_budget_period(budget, period)] = None
    return list(found)


def read_claims(adjustments: Iterable[AnsweredAdjustment]) -> list[WindowClaim]:
    """The claims among what is booked. One whose detail cannot be read is of any pod and to no budget."""
    found = []
    for one in adjustments:
        match = _CLAIM.fullmatch(one.source) if one.budget.name == CLAIMS_NAME else None
        if match is None:
            continue
        start = int(match[2])
        try:
            detail = json.loads(one.detail)
            window = Period(start, int(detail["until"]))
            period = Period(*map(int, detail["period"]))
            scope = {str(key): frozenset(map(str, values)) for key, values in detail["pods"].items()}
            budget = str(detail["budget"])
        except (ValueError, LookupError, TypeError, AttributeError):
            window, period, scope, budget = Period(start, start + CLAIM_SPAN_SECONDS), Period(0, 0), {}, ""
        found.append(WindowClaim(one.budget.namespace, match[1], window, scope, budget, period, one.micrograms))
    return found


def claim_group(claim: WindowClaim) -> AdjustmentGroup:
    """The row of a new claim."""
    row = Adjustment(
        budget=_claims_period(claim.space, claim.window.start // CLAIM_SPAN_SECONDS),
        reason="Credit",
        source=_source(claim),
        micrograms=claim.micrograms,
        detail=_detail(claim),
    )
    return AdjustmentGroup(adjustments=[row])


def missing_credits(
    claims: Iterable[WindowClaim],
    budgets: Iterable[CreditedBudget],
    adjustments: Iterable[AnsweredAdjustment],
    now: int,
) -> list[AdjustmentGroup]:
    """The credits of claims that are not booked on their budget yet.

    There is none for a budget that is gone, or for a period that is over.
    """
    by_hash = {(budget.space, budget_hash(budget.name)): budget for budget in budgets}
    booked = {
        (one.budget.namespace, one.budget.name, one.budget.period_start, one.source)
        for one in adjustments
        if one.reason == "Credit"
    }
    groups = []
    for claim in claims:
        budget = by_hash.get((claim.space, claim.budget))
        if budget is None or claim.period.end <= now:
            continue
        if (budget.space, budget.name, claim.period.start, _source(claim)) in booked:
            continue
        window = f"{format_time(claim.window.start)} to {format_time(claim.window.end)}"
        credit = Adjustment(
            budget=_budget_period(budget, claim.period),
            reason="Credit",
            source=_source(claim),
            micrograms=claim.micrograms,
            detail=f"saved by target {claim.target[:150]} from {window}",
        )
        groups.append(AdjustmentGroup(adjustments=[credit]))
    return groups


def credited_sums(
    adjustments: Iterable[AnsweredAdjustment], claims: Iterable[WindowClaim], budgets: Iterable[CreditedBudget]
) -> dict[tuple[str, str, int, str], int]:
    """Micrograms credited by (space, budget, start of the period, target): booked ones, and claims that are not yet."""
    rows: dict[tuple[str, str, int, str], int] = {}  # by source: a claim and its credit are counted once
    for one in adjustments:
        if one.reason == "Credit" and one.budget.name != CLAIMS_NAME and _CLAIM.fullmatch(one.source):
            rows[one.budget.namespace, one.budget.name, one.budget.period_start, one.source] = one.micrograms
    by_hash = {(budget.space, budget_hash(budget.name)): budget for budget in budgets}
    for claim in claims:
        if (budget := by_hash.get((claim.space, claim.budget))) is not None:
            rows[budget.space, budget.name, claim.period.start, _source(claim)] = claim.micrograms
    sums: dict[tuple[str, str, int, str], int] = {}
    for (space, name, start, source), micrograms in rows.items():
        match = _CLAIM.fullmatch(source)
        key = space, name, start, match[1] if match else ""
        sums[key] = sums.get(key, 0) + micrograms
    return sums


def budget_hash(name: str) -> str:
    """What a claim has for a budget's name, which may be longer than a detail."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _creditable(target: AnyTarget) -> CreditableTarget | None:
    baseline, metadata = target.status.baseline, target.metadata
    if baseline is None or baseline.measured is None or target.status.evaluated_generation != metadata.generation:
        return None
    windows = [
        SavedWindow(
            Period(seconds(former.figure.start), seconds(former.figure.end)),
            former.savings.micrograms,
            former.savings.absolute_fall_micrograms,
            min(_known_percent(former.figure), former.figure.coverage),
        )
        for former in target.status.history or ()
        if former.savings is not None
    ]
    spec = target.spec
    of_namespaces = spec.namespace_selector if isinstance(spec, ClusterCarbonTargetSpec) else None
    return CreditableTarget(
        space=metadata.namespace,
        name=metadata.name,
        frozen_at=seconds(baseline.frozen_at),
        baseline_end=seconds(baseline.measured.end),
        accounting=spec.accounting,
        scope=_scope(spec.selector, "") | _scope(of_namespaces, _OF_NAMESPACES),
        windows=[window for window in windows if window.period.start < window.period.end],
    )


def _known_percent(figure: TargetFigure) -> int:
    return figure.hours_percent if figure.emissions_percent is None else figure.emissions_percent


def _scope(selector: LabelSelector | None, prefix: str) -> dict[str, frozenset[str]]:
    """What a selector requires of single labels. Its other requirements are left out: the scope is never too small."""
    if selector is None:
        return {}
    scope = {prefix + key: frozenset({value}) for key, value in selector.match_labels.items()}
    for one in selector.match_expressions:
        if one.operator == "In":
            key = prefix + one.key
            scope[key] = scope.get(key, frozenset(one.values)) & frozenset(one.values)
    return scope


def _source(claim: WindowClaim) -> str:
    return f"target {claim.target} window {claim.window.start}"


def _detail(claim: WindowClaim) -> str:
    """JSON of at most 256 characters; requirements of the scope that do not fit are left out, which makes it larger."""
    pods: dict[str, list[str]] = {}
    budget = claim.budget
    text = ""
    for key, values in [("", frozenset[str]()), *sorted(claim.scope.items(), key=lambda item: len(str(item)))]:
        more = pods | ({key: sorted(values)} if key else {})
        period = [claim.period.start, claim.period.end]
        longer = json.dumps(
            {"budget": budget_hash(budget), "until": claim.window.end, "period": period, "pods": more},
            separators=(",", ":"),
        )
        if len(longer) > _MAX_DETAIL:
            break
        pods, text = more, longer
    return text


def _claims_period(space: str, number: int) -> BudgetPeriod:
    start = number * CLAIM_SPAN_SECONDS
    return BudgetPeriod(namespace=space, name=CLAIMS_NAME, period_start=start, period_end=start + CLAIM_SPAN_SECONDS)


def _budget_period(budget: CreditedBudget, period: Period) -> BudgetPeriod:
    return BudgetPeriod(namespace=budget.space, name=budget.name, period_start=period.start, period_end=period.end)
