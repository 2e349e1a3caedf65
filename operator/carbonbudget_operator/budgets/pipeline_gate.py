"""Whether a run or a model's new version emitted more than a pipeline allows, or a target is behind. Pure.

Amounts are micrograms of CO2 equivalent. A figure that is provisional can still rise, so one that is within its limit
is a warning and not a pass. One that is above it fails at once, and says that it is provisional: only the last hour's
share of overhead can fall, when other pods come. A limit that is made of a provisional figure fails nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from carbonbudget_operator.budgets.quantity import exact_mass, format_beside, format_mass


class GateVerdict(StrEnum):
    """How a gate ends."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    UNANSWERABLE = "unanswerable"


STALE_TARGET_SECONDS: Final = 24 * 3600  # a target is evaluated each hour
_OF_STATE: Final = {
    "OnTrack": GateVerdict.PASSED,
    "Achieved": GateVerdict.PASSED,
    "Behind": GateVerdict.WARNED,
    "Violated": GateVerdict.FAILED,
}


@dataclass(frozen=True, slots=True)
class Emitted:
    """What something emitted, and whether every node has reported its last hour."""

    name: str
    micrograms: int
    final: bool


@dataclass(frozen=True, slots=True)
class GateResult:
    """The verdict, the sentence that explains it, and the limit in micrograms that it was compared with.

    None: not known, which is not zero.
    """

    verdict: GateVerdict
    sentence: str
    emitted_ug: int | None
    limit_ug: int | None


@dataclass(frozen=True, slots=True)
class TargetStanding:
    """How a target stands by its status. Masses are micrograms per `per` units; None: not known.

    `is_current`: whether the status is of the spec as it is now. `is_refused`: whether it says that this spec cannot be
    evaluated. `age_seconds`: since the end of its figures' data.
    """

    name: str
    state: str
    message: str
    unit: str
    per: int
    current_ug: int | None
    expected_ug: int | None
    is_current: bool
    age_seconds: int | None
    is_refused: bool = False


def gate_target(target: TargetStanding) -> GateResult:
    """Compare a target's last figure with its path, as its status does. An old status says nothing of what is now."""

    def result(verdict: GateVerdict, sentence: str) -> GateResult:
        return GateResult(verdict, sentence, target.current_ug, target.expected_ug)

    if target.is_refused and target.message:
        return result(GateVerdict.UNANSWERABLE, f"{target.name} cannot be evaluated: {target.message}")
    if not target.is_current:
        return result(GateVerdict.UNANSWERABLE, f"{target.name} was changed and is not evaluated yet: ask again")
    if target.age_seconds is None or target.age_seconds > STALE_TARGET_SECONDS:
        since = "" if target.age_seconds is None else f" for {target.age_seconds // 3600} h"
        later = "see its condition Ready, and whether controller and server run"
        return result(GateVerdict.UNANSWERABLE, f"{target.name} has had no new figure{since}: {later}")
    verdict = _OF_STATE.get(target.state, GateVerdict.UNANSWERABLE)
    if verdict is GateVerdict.UNANSWERABLE or target.current_ug is None:
        said = target.message or "its units or its baseline are not known: see its conditions"
        lacks = "has no figure" if target.current_ug is None else "is not compared with its path"
        return result(GateVerdict.UNANSWERABLE, f"{target.name} {lacks}: {said}")
    per = target.unit if target.per == 1 else f"{target.per:,} {target.unit}"
    said = f"{target.name} is {target.state}: {format_mass(target.current_ug)} per {per}"
    if target.expected_ug is not None:
        said += f", and {format_mass(target.expected_ug)} are expected by now"
    return result(verdict, said)


def gate_run(run: Emitted, limit_ug: int) -> GateResult:
    """Compare a run with a limit."""
    used, limit = format_beside(run.micrograms, limit_ug), exact_mass(limit_ug)
    if run.micrograms > limit_ug:
        said = f"{run.name} emitted {used}, more than {limit}" + _provisional(run)
        return GateResult(GateVerdict.FAILED, said, run.micrograms, limit_ug)
    return _within(run.final, f"{run.name} emitted {used} of {limit}", run.micrograms, limit_ug)


def gate_version(new: Emitted, old: Emitted, most_increase_percent: Fraction) -> GateResult:
    """Compare a version with an earlier one. `most_increase_percent` may be negative: a fall that is asked for."""
    if old.micrograms <= 0:
        return GateResult(GateVerdict.UNANSWERABLE, f"{old.name} emitted nothing to compare with", new.micrograms, None)
    limit = old.micrograms * (100 + most_increase_percent) / 100
    change = Fraction((new.micrograms - old.micrograms) * 100, old.micrograms)
    more = f"{float(abs(change)):.3g} % {'more' if change >= 0 else 'less'}"
    said = f"{new.name} emitted {format_mass(new.micrograms)}, {more} than {old.name}"
    allowed = f"; {float(most_increase_percent):+.3g} % is allowed"
    if new.micrograms > limit:
        if not old.final:
            later = f"; {old.name} is provisional and may rise: ask again when it is final"
            return GateResult(GateVerdict.UNANSWERABLE, said + allowed + later, new.micrograms, int(limit))
        return GateResult(GateVerdict.FAILED, said + allowed + _provisional(new), new.micrograms, int(limit))
    return _within(new.final and old.final, said + allowed, new.micrograms, int(limit))


def _provisional(failed: Emitted) -> str:
    return "" if failed.final else "; the figure is provisional, and its share of overhead can still fall"


def _within(final: bool, sentence: str, emitted_ug: int, limit_ug: int) -> GateResult:
    if final:
        return GateResult(GateVerdict.PASSED, sentence, emitted_ug, limit_ug)
    later = "; the figure is provisional and may rise: ask again when the last hour is reported"
    return GateResult(GateVerdict.WARNED, sentence + later, emitted_ug, limit_ug)
