"""What the target loop remembers of a target between evaluations, and whether the target is due. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.target_evaluation import TargetEvaluation
from carbonbudget_operator.controller.target_queries import AskedSpans
from carbonbudget_operator.controller.target_store import StoredTarget
from carbonbudget_operator.targets.target_verdict import TargetState
from carbonbudget_operator.targets.target_windows import whole_hour

_AGAIN_SECONDS: Final = 600  # for a target of which hours are missing


@dataclass(slots=True)
class TargetMemory:
    """The last evaluation of one target.

    `version`: the spec that was evaluated last, None to evaluate it again. `hour`: up to which data. `at`: when.
    `frozen`: a baseline that the watch may not have shown yet. `empty`: calendar windows without a figure.
    `state`: the state that Events have told. `told`: the spec of which the status says why there is no answer.
    """

    uid: str
    version: tuple[str, object] | None = None
    hour: int = 0
    at: float = 0.0
    incomplete: bool = False
    frozen: FrozenBaseline | None = None
    empty: frozenset[Period] = frozenset()
    state: TargetState | None = None
    told: tuple[tuple[str, object], str] | None = None

    def is_due(self, stored: StoredTarget, through: int, now: int) -> bool:
        """Whether to evaluate it at `now` with data up to `through`: by another spec, or an hour that is new."""
        if self.version != stored.version or whole_hour(through) > self.hour:
            return True
        return self.incomplete and now - self.at >= _AGAIN_SECONDS

    def evaluated(
        self, stored: StoredTarget, made: TargetEvaluation, asked: AskedSpans, through: int, now: int
    ) -> None:
        """Note that the target was evaluated by the server's answer to `asked`."""
        # With a new baseline its history is asked for next.
        self.version = stored.version if not made.newly_frozen else None
        self.hour, self.at, self.told = whole_hour(through), now, None
        self.incomplete, self.frozen = made.incomplete, made.frozen
        self.empty = frozenset(one for one in self.empty | made.empty if one in asked.shown)

    def failed(self, stored: StoredTarget, through: int, now: int) -> None:
        """Note that no question about the target could be asked."""
        self.version, self.hour, self.at, self.incomplete = stored.version, whole_hour(through), now, True

    def unanswered(self, stored: StoredTarget, reason: str) -> None:
        """Note that the status says why there is no answer. The target is due with the next answer."""
        self.told, self.version = (stored.version, reason), None

    def not_written(self) -> None:
        """Note that the status was not written: the next minute tries again."""
        self.version = self.told = None
