"""The conditions of a target, with reasons that stay the same. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from carbonbudget_operator.api.target_query_bodies import TargetSpanAnswer
from carbonbudget_operator.api.times import format_time, seconds
from carbonbudget_operator.controller.baseline_method import MethodComparison
from carbonbudget_operator.controller.prepared_target import PreparedTarget
from carbonbudget_operator.controller.status_conditions import (
    MOST_NAMESPACES,
    NAMESPACES_LEFT_OUT,
    DesiredCondition,
    Truth,
    merged,
)
from carbonbudget_operator.controller.target_queries import SpanAnswers, sums_of
from carbonbudget_operator.targets.target_verdict import TargetState, TargetVerdict, without_figure

_ON_TRACK: Final[Mapping[TargetState, Truth]] = {
    TargetState.ACHIEVED: "True",
    TargetState.ON_TRACK: "True",
    TargetState.BEHIND: "False",
    TargetState.VIOLATED: "False",
    TargetState.NO_DATA: "Unknown",
}


def target_conditions(
    prepared: PreparedTarget,
    now: int,
    verdict: TargetVerdict,
    message: str,
    no_baseline: str,
    answers: SpanAnswers,
    method: MethodComparison,
) -> list[dict[str, object]]:
    """All conditions, as they are after the evaluation. `no_baseline`: why there is none; empty if there is one."""
    waits = no_baseline != ""
    wanted = (
        _ready(prepared),
        DesiredCondition("BaselineFrozen", "False", "Waiting", no_baseline)
        if waits
        else DesiredCondition("BaselineFrozen", "True", "Frozen", "the baseline is computed and stays"),
        _units_available(prepared, answers),
        method.condition(waits),
        DesiredCondition("OnTrack", _ON_TRACK[verdict.state], verdict.state.value, message),
    )
    made = merged(prepared.target_object, now, wanted)
    for condition in made:
        # Another spec waits anew, although the status of the condition stays False.
        if condition["type"] == "BaselineFrozen" and waits:
            condition["lastTransitionTime"] = format_time(baseline_missing_since(prepared, now))
    return made


def not_ready(reason: str, sentence: str) -> DesiredCondition:
    """Ready is False: there is no new evaluation."""
    return DesiredCondition("Ready", "False", reason, sentence)


def baseline_missing_since(prepared: PreparedTarget, now: int) -> int:
    """Since when this spec has no baseline (UTC seconds), by the condition that says so; `now` without one."""
    for condition in prepared.target_object.status.conditions or ():
        same = condition.observed_generation == prepared.target_object.metadata.generation
        since = condition.last_transition_time
        if condition.type == "BaselineFrozen" and condition.status == "False" and same and since is not None:
            return seconds(since)
    return now


def _ready(prepared: PreparedTarget) -> DesiredCondition:
    if prepared.namespaces_left_out:
        sentence = (
            f"more than {MOST_NAMESPACES} namespaces counted: those that were deleted first are no longer counted; "
            "leave namespaceSelector out to count all"
        )
        return DesiredCondition("Ready", "True", NAMESPACES_LEFT_OUT, sentence)
    return DesiredCondition("Ready", "True", "Evaluated", "the target is evaluated when a new hour is reported")


def _left_out(answer: TargetSpanAnswer) -> str:
    """Which namespaces are left out, and why. The text changes with the names alone; the share is in `current`."""
    more = answer.left_out_count - len(answer.left_out)
    names = ", ".join(answer.left_out) + (f" and {more} more" if more else "")
    why = f" ({answer.missing})" if answer.missing else ""
    return (
        f"units of {names} are not known in all hours{why}: these hours of theirs count neither as units nor as "
        "emissions; current.emissionsPercent has the share that counts"
    )


def _units_available(prepared: PreparedTarget, answers: SpanAnswers) -> DesiredCondition:
    answer = answers.current
    window = sums_of(answer)
    why = without_figure(window, prepared.terms, answer.missing, answer.coverage_percent)
    if why:
        return DesiredCondition("UnitsAvailable", "False", "NoUnits", why)
    if answer.left_out_count:
        return DesiredCondition("UnitsAvailable", "True", NAMESPACES_LEFT_OUT, _left_out(answer))
    if window.known_hours < window.hours:
        lacking = window.hours - window.known_hours
        sentence = f"units of {lacking} of the window's {window.hours} hours are missing"
        sentence += f": {answer.missing}" if answer.missing else ""
        return DesiredCondition("UnitsAvailable", "True", "SomeHoursMissing", sentence)
    return DesiredCondition("UnitsAvailable", "True", "Complete", "units of all hours of the window are known")
