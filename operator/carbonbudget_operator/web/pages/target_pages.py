"""The pages of targets: all of them as cards, and one with its path."""

from __future__ import annotations

from typing import Final

from starlette.responses import Response

from carbonbudget_operator.web.charts.target_charts import WindowBar, target_bar, target_path
from carbonbudget_operator.web.page_handling import PageHandling, Visit
from carbonbudget_operator.web.views.page_states import StateChoice
from carbonbudget_operator.web.views.page_target import PageTarget, targets_in_order
from carbonbudget_operator.web.views.target_path_points import path_points

_STATES: Final = ("Violated", "Behind", "NoData", "OnTrack", "Achieved")


async def show_targets(handling: PageHandling, visit: Visit) -> Response:
    """All targets, those that are violated first. `namespace` and `state` of the address select some."""
    found = await handling.targets.all(visit.caller)
    namespace, state = visit.given("namespace"), visit.given("state")
    ordered = targets_in_order(found.targets)
    chosen = [one for one in ordered if namespace in ("", one.namespace) and state in ("", _state(one))]
    return handling.page(
        "targets.html", visit, title="Targets", here="targets", targets=chosen, notes=found.notes, of=len(ordered),
        namespaces=sorted({one.namespace for one in ordered if one.namespace}), namespace=namespace, state=state,
        states=[StateChoice(one, one, sum(_state(each) == one for each in ordered)) for one in _STATES], bar=_bar,
    )  # fmt: skip


async def show_target(handling: PageHandling, visit: Visit) -> Response:
    """One target: its figures, its path, the windows that are over, what they saved."""
    namespace, name = visit.request.path_params.get("namespace", ""), visit.request.path_params["name"]
    target = await handling.targets.one(visit.caller, namespace, name)
    return handling.page(
        "target.html", visit, title=target.name, here="targets", target=target, bar=_bar,
        chart=_chart(target, int(handling.now())), windows=list(reversed(target.history)),
    )  # fmt: skip


def _state(target: PageTarget) -> str:
    return target.state if target.state in _STATES else "NoData"


def _bar(target: PageTarget) -> str:
    """The bar of a target's figure; nothing where there is none."""
    if target.current_ug is None or target.expected_ug is None:
        return ""
    return target_bar(target.current_ug, target.expected_ug, target.baseline_ug, target.state_class)


def _chart(target: PageTarget, now: int) -> str:
    bars = [WindowBar(one.start, one.end, one.per_unit_ug, one.state_word, one.state_class) for one in target.history]
    over = bars[-1].end if bars else 0
    if target.current_ug is not None and target.current_end is not None and target.current_start is not None:
        start = max(target.current_start, over)  # the present window reaches back into the last one that is over
        if start < target.current_end:
            bars.append(
                WindowBar(start, target.current_end, target.current_ug, target.state_word, target.state_class, True)
            )
    path = path_points(target)
    return target_path(path, bars, now, f"Path of {target.name}") if path or bars else ""
