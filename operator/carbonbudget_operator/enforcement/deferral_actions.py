"""What a decision about deferred Jobs starts from, and what it results in. No I/O and no clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from carbonbudget_operator.cleaner_hours.start_choice import StartChoice
from carbonbudget_operator.enforcement.deferral_forecast import DeferralForecast
from carbonbudget_operator.enforcement.deferral_record import DeferralRecord
from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.job_fields import Job


@dataclass(frozen=True, slots=True)
class ChooseStart:
    """Write the chosen start. `choice` is None where no forecast is known; `again`: whether it replaces another."""

    job: Job
    start: int
    deadline: int
    duration_s: int
    choice: StartChoice | None
    record: DeferralRecord
    again: bool = False


@dataclass(frozen=True, slots=True)
class SpreadStart:
    """Move a start that was missed or held back to `at`, so that not all of them start at once."""

    job: Job
    at: int


@dataclass(frozen=True, slots=True)
class HoldStart:
    """Record that the budget refuses Jobs like it now."""

    job: Job
    budget: EnforcedBudget


@dataclass(frozen=True, slots=True)
class StartJob:
    """Start the Job now."""

    job: Job


@dataclass(frozen=True, slots=True)
class DeclineDeferral:
    """Say why the Job's start is not chosen; nothing is written to it."""

    job: Job
    sentence: str


@dataclass(frozen=True, slots=True)
class LeaveJob:
    """Remove what was chosen for a Job that its owner started: if the owner suspends it later, it stays suspended."""

    job: Job


DeferralAction = ChooseStart | SpreadStart | HoldStart | StartJob | DeclineDeferral | LeaveJob


@dataclass(slots=True)
class DeferredJobSummary:
    """How many Jobs of a namespace wait for their start, the earliest chosen and the earliest latest one; 0: not known.

    Those that a budget holds are counted, and their times are left out.
    """

    count: int = 0
    start: int = 0
    latest_start: int = 0

    def add(self, start: int, latest: int) -> None:
        """Count one more."""
        self.count += 1
        self.start = min(filter(None, (self.start, start)), default=0)
        self.latest_start = min(filter(None, (self.latest_start, latest)), default=0)


@dataclass(frozen=True, slots=True)
class DeferralTerms:
    """What a decision follows from beside Jobs and budgets.

    Attributes:
        now: UTC seconds.
        enabled: the setting enforcement.deferral.
        enforced: whether the cluster's mode is Enforce; otherwise no budget holds a start.
        jitter_s: within how many seconds starts are spread.
        here_since: when this process first decided.
        exempt: namespaces in which budgets do not act.
        forecast: None while none is known.
    """

    now: int
    enabled: bool
    enforced: bool
    jitter_s: int
    here_since: int
    exempt: frozenset[str]
    forecast: DeferralForecast | None


@dataclass(slots=True)
class DeferralDecision:
    """The actions; what waits by namespace; when to decide again at the latest (UTC seconds, 0: no need).

    `reviewed`: the uids of the Jobs whose start was compared with the forecast.
    """

    actions: list[DeferralAction] = field(default_factory=list)
    waiting: dict[str, DeferredJobSummary] = field(default_factory=dict)
    wake_at: int = 0
    reviewed: set[str] = field(default_factory=set)

    def wake(self, at: int) -> None:
        """Decide again at `at`."""
        self.wake_at = min(self.wake_at or at, at)
