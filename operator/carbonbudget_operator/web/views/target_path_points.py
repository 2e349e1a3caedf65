"""The corners of a target's path, which the chart draws. Pure."""

from __future__ import annotations

from carbonbudget_operator.web.views.page_target import PageTarget


def path_points(target: PageTarget) -> list[tuple[int, int]]:
    """The corners (UTC second, micrograms per unit) of what the path asks for, until the whole reduction is due.

    Empty while the baseline is not known.
    """
    start = target.baseline_end if target.baseline_end is not None else target.created
    goal_ug, baseline_ug, by = target.goal_ug, target.baseline_ug, target.by
    if start is None or by is None or goal_ug is None or baseline_ug is None or by <= start:
        return []
    if target.path == "Stepped" and not target.steps:
        return []  # a server that does not state them
    if target.path == "Linear":
        return [(start, baseline_ug), (by, goal_ug)]
    steps = [
        (at, baseline_ug * (100 - percent) // 100)
        for at, percent in (target.steps if target.path == "Stepped" else ())
        if at < by
    ]
    level_ug = next((step_ug for at, step_ug in reversed(steps) if at <= start), baseline_ug)
    corners = [(start, level_ug)]
    for at, step_ug in steps:
        if at > start:
            corners += [(at, level_ug), (at, step_ug)]
            level_ug = step_ug
    return [*corners, (by, level_ug), (by, goal_ug)]
