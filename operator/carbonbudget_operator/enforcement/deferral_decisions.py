"""Decides which deferred Jobs get a start, wait, are held by a budget and are started. No I/O and no clock.

Everything that is decided is in the Jobs' annotations, so a controller that was away decides like one that was not. The
rules, each with a property test:

- A Job is started only if it was created suspended with the label and both annotations, is managed by nobody else, and
  no budget suspended it; and only once.
- It is not started before its chosen start, nor while a budget refuses Jobs like it. Else it starts in time.
- A start is chosen again at most once an hour, and only for 5 per cent less; or when its owner changes the deadline.
- Starts are spread over `jitter_s`, without leaving the span from now to the latest start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, TypeVar

from carbonbudget_operator.api.wire_names import (
    DEFERRED_HELD_BY_ANNOTATION,
    DEFERRED_STARTED_ANNOTATION,
)
from carbonbudget_operator.cleaner_hours.start_choice import choose_start
from carbonbudget_operator.enforcement.deferral_actions import (
    ChooseStart,
    DeclineDeferral,
    DeferralAction,
    DeferralDecision,
    DeferralTerms,
    DeferredJobSummary,
    HoldStart,
    LeaveJob,
    SpreadStart,
    StartJob,
)
from carbonbudget_operator.enforcement.deferral_record import DeferralRecord, record_of
from carbonbudget_operator.enforcement.deferral_state import (
    chosen_start,
    declined,
    latest_start,
    stated_duration_s,
    wish_defect,
)
from carbonbudget_operator.enforcement.enforced_budgets import BudgetsByNamespace, EnforcedBudget, is_enforced_namespace
from carbonbudget_operator.enforcement.job_fields import Job
from carbonbudget_operator.enforcement.suspension_decisions import jitter

_Item = TypeVar("_Item")
Labels = Mapping[str, Mapping[str, str]]
PATIENCE_S: Final = 600  # for a first forecast; after that, waiting would gain nothing that is known
AGAIN_S: Final = 3600
HELD_S: Final = 60
LATE_SPREAD_S: Final = 60  # of Jobs whose latest start has passed
_MOST_CHOICES: Final = 200  # in one round; a choice takes a millisecond
_WORTH_PERCENT: Final = 95
_RETRY_S: Final = 5  # where a choice cannot be written; the watch shows one that was, before that


def decide_deferrals(
    jobs: Iterable[Job],
    budgets: Iterable[EnforcedBudget],
    namespaces: Labels,
    terms: DeferralTerms,
    reviewed: Collection[str] = frozenset(),
) -> DeferralDecision:
    """Decide about all Jobs. `reviewed`: those that were already compared with this forecast."""
    budgets = list(budgets) if terms.enforced else []
    decider = _Decider(
        terms,
        BudgetsByNamespace(b for b in budgets if b.blocks_jobs(terms.now)),
        BudgetsByNamespace(b for b in budgets if b.suspends(terms.now) and not b.per_workload),
        namespaces,
    )
    unplanned, planned = [], []
    for job in jobs:
        if job.wish is None or job.finished_at or job.marked or DEFERRED_STARTED_ANNOTATION in job.annotations:
            continue
        if sentence := declined(job, terms.enabled):
            decider.decision.actions.append(DeclineDeferral(job, sentence))
        elif job.managed:
            continue
        elif not job.suspended:
            if chosen_start(job):
                decider.decision.actions.append(LeaveJob(job))
        elif chosen_start(job):
            decider.due(job)
            planned.append(job)
        else:
            unplanned.append(job)
    choices = 0
    for job in fairly(unplanned, lambda job: job):
        choices += decider.plan(job, may_choose=choices < _MOST_CHOICES)
    for job in fairly((job for job in planned if job.uid not in reviewed), lambda job: job):
        choices += decider.review(job, may_choose=choices < _MOST_CHOICES)
    if choices >= _MOST_CHOICES:
        decider.decision.wake(terms.now + 1)
    return decider.decision


class _Decider:
    """One decision while it is made, Job by Job."""

    def __init__(
        self, terms: DeferralTerms, blocking: BudgetsByNamespace, suspending: BudgetsByNamespace, namespaces: Labels
    ) -> None:
        self._terms, self._blocking, self._suspending, self._namespaces = terms, blocking, suspending, namespaces
        self.decision = DeferralDecision()

    def due(self, job: Job) -> None:
        """Decide about a Job that has a start: whether it is due, and what holds it."""
        now, start, latest = self._terms.now, chosen_start(job), latest_start(job)
        spread_at = now + jitter(job.uid, self._spread_s(latest))
        held = DEFERRED_HELD_BY_ANNOTATION in job.annotations
        if not self._terms.enabled and start > now + self._terms.jitter_s:
            self._act(SpreadStart(job, spread_at))
            start = spread_at
        elif start <= now:
            holding = self._holding(job)
            if holding is not None:
                if job.annotations.get(DEFERRED_HELD_BY_ANNOTATION) != holding.display_name:
                    self._act(HoldStart(job, holding))
                self._waits(job, 0, 0, now + HELD_S)  # its deadline counts no more, and no alert goes by it
                return
            if (not held and start >= self._terms.here_since) or spread_at <= now:
                self._act(StartJob(job))
                return
            self._act(SpreadStart(job, spread_at))
            start = spread_at
        self._waits(job, start, latest, start)

    def plan(self, job: Job, may_choose: bool) -> bool:
        """Choose the start of a Job that has none, and return whether a choice was made."""
        now, latest = self._terms.now, latest_start(job)
        if self._terms.forecast is None:
            until = min(max(job.created_at, self._terms.here_since) + PATIENCE_S, latest)
            if now < until:
                self._waits(job, 0, latest, until)
                return False
        if not may_choose:
            self._waits(job, 0, latest, now + 1)
            return False
        action = self._choice(job, again=False)
        self._act(action)
        self._waits(job, action.start, latest, max(action.start, now + _RETRY_S))
        return True

    def review(self, job: Job, may_choose: bool) -> bool:
        """Compare a chosen start with the newest forecast, and return whether that was done."""
        now, start, forecast, wish = self._terms.now, chosen_start(job), self._terms.forecast, job.wish
        assert wish is not None
        if start <= now or not self._terms.enabled or wish_defect(wish):
            return False
        latest, known = latest_start(job), record_of(job)
        misses = start > (latest if latest >= now else now + self._terms.jitter_s)
        if not misses and (forecast is None or DEFERRED_HELD_BY_ANNOTATION in job.annotations):
            return False
        if not may_choose:
            return False
        if not misses:
            assert forecast is not None
            if forecast.made_at <= known.made_at <= now or now - AGAIN_S < known.at_once <= now:
                return False
        self.decision.reviewed.add(job.uid)
        if misses or self._is_worth_it(job, start):
            action = self._choice(job, again=True)
            self._act(action)
            self.decision.wake(max(action.start, now + _RETRY_S))
        return True

    def _is_worth_it(self, job: Job, start: int) -> bool:
        assert self._terms.forecast is not None
        hours, length_s, latest = self._terms.forecast.hours, stated_duration_s(job), latest_start(job)
        found, now = hours.exposure(start, length_s), choose_start(hours, length_s, self._terms.now, latest + length_s)
        if found.unknown_s != now.chosen.unknown_s:
            return now.chosen.unknown_s < found.unknown_s
        return now.chosen.mg_s * 100 < found.mg_s * _WORTH_PERCENT

    def _choice(self, job: Job, again: bool) -> ChooseStart:
        now, length_s, latest, forecast = (
            self._terms.now,
            stated_duration_s(job),
            latest_start(job),
            self._terms.forecast,
        )
        choice = None if forecast is None else choose_start(forecast.hours, length_s, now, latest + length_s)
        start = now if choice is None else choice.start
        # After the chosen start where the deadline leaves room for that, else before it.
        last = min(
            start + self._terms.jitter_s, max(latest, now + self._spread_s(latest))
        )  # of a late one, now or soon
        first = max(now, min(start, last - self._terms.jitter_s))
        spread = first + jitter(job.uid, last - first)
        record = DeferralRecord.of(job, choice, forecast, now)
        return ChooseStart(job, spread, latest + length_s, length_s, choice, record, again)

    def _holding(self, job: Job) -> EnforcedBudget | None:
        """A budget that refuses Jobs like it now, else one that would suspend it at once."""
        labels = self._namespaces.get(job.namespace)
        if job.exempt or not is_enforced_namespace(job.namespace, labels, self._terms.exempt):
            return None
        # The policy sees all labels and would refuse its owner; what is not stored here must not let it through.
        found = self._blocking.possibly_of(job, labels) or (self._suspending.of(job, labels) if job.opted_in else [])
        return found[0] if found else None

    def _spread_s(self, latest: int) -> int:
        """Over how many seconds starts are spread that can be no earlier than now."""
        left_s = latest - self._terms.now
        return min(self._terms.jitter_s, left_s if left_s >= 0 else LATE_SPREAD_S)

    def _act(self, action: DeferralAction) -> None:
        self.decision.actions.append(action)

    def _waits(self, job: Job, start: int, latest: int, wake_at: int) -> None:
        self.decision.waiting.setdefault(job.namespace, DeferredJobSummary()).add(start, latest)
        self.decision.wake(wake_at)


def starts_first(actions: Iterable[DeferralAction]) -> list[DeferralAction]:
    """The actions in the order in which they are carried out: starts, then all others, each fairly."""
    actions = list(actions)
    starts = [action for action in actions if isinstance(action, StartJob)]
    others = [action for action in actions if not isinstance(action, StartJob)]
    return [*fairly(starts, lambda action: action.job), *fairly(others, lambda action: action.job)]


def fairly(items: Iterable[_Item], job_of: Callable[[_Item], Job]) -> Iterator[_Item]:
    """One of each namespace in turn, so that a namespace with many of them delays no other."""
    queues: dict[str, deque[_Item]] = {}
    for item in items:
        queues.setdefault(job_of(item).namespace, deque()).append(item)
    waiting = deque(queues.values())
    while waiting:
        queue = waiting.popleft()
        yield queue.popleft()
        if queue:
            waiting.append(queue)
