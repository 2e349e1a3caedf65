"""Refused reports, exports and external figures, made of `/api/v1/status` and `/api/v1/external`. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from carbonbudget_core.jsons import JsonObject, objects
from carbonbudget_operator.budgets.quantity import format_energy, format_mass
from carbonbudget_operator.web.views.answer_figures import amount, date_text, second, utc_text, word

MOST_REFUSED: Final = 50
_LATE_HOURS: Final = 3  # of an export; an hour or two is what a pause of the target costs
_REASONS: Final = {
    "account": "not an agent", "api_server": "API server away", "busy": "server busy", "cluster": "of another cluster",
    "conflict": "differs from what is stored", "defect": "defect of the server", "encoding": "unknown encoding",
    "future": "from the future", "impossible": "figures that cannot be", "incomplete": "cut off",
    "ledger": "ledger away", "malformed": "not readable", "name": "impossible name", "node": "of another node",
    "pod_unknown": "pod not known yet", "slow": "sent too slowly", "too_large": "too large", "too_old": "too old",
    "unauthenticated": "token not valid",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PageExport:
    """A target of a continuous export. `state` is `within`, `warning` or `unknown`."""

    target: str
    state: str
    state_word: str
    last_hour: str
    hours_behind: int
    oldest_missing: str


@dataclass(frozen=True, slots=True)
class PageRefusal:
    """Reports of one sender that were refused for one reason."""

    sender: str
    reason: str
    sentence: str
    reports: int
    last: str


@dataclass(frozen=True, slots=True)
class PageExternal:
    """A sum of figures that others measured."""

    source: str
    scope: str
    method: str
    emissions: str
    energy: str
    figures: int
    partly: int
    span: str


def exports(status: JsonObject) -> Sequence[PageExport]:
    """The targets, in the settings' order."""
    return [_export(one) for one in objects(status.get("exports"))]


def refusals(status: JsonObject) -> Sequence[PageRefusal]:
    """The reports that were refused last, at most MOST_REFUSED of them."""
    return [
        PageRefusal(
            word(one, "sender"), _REASONS.get(word(one, "kind"), word(one, "kind")), word(one, "reason"),
            amount(one, "reports") or 0, utc_text(second(one, "last")),
        )
        for one in islice(objects(status.get("refused")), MOST_REFUSED)
    ]  # fmt: skip


def external(answer: JsonObject) -> Sequence[PageExternal]:
    """The sums by source, scope and method."""
    return [_external(one) for one in objects(answer.get("rows"))]


def _export(one: JsonObject) -> PageExport:
    behind, last = amount(one, "hours_behind") or 0, second(one, "last_hour")
    if last is None and not behind:
        state, text = "unknown", "Nothing sent yet"
    elif behind > _LATE_HOURS:
        state, text = "warning", "Behind"
    else:
        state, text = "within", "Up to date" if not behind else "Sends"
    oldest = utc_text(second(one, "oldest_missing"))
    return PageExport(word(one, "target"), state, text, utc_text(last), behind, oldest)


def _external(one: JsonObject) -> PageExternal:
    energy_uj, first, last = amount(one, "energy_uj"), second(one, "first"), second(one, "last")
    return PageExternal(
        word(one, "source"), word(one, "scope_name") or word(one, "scope"), word(one, "method"),
        format_mass(max(0, amount(one, "emissions_ug") or 0)), "" if energy_uj is None else format_energy(energy_uj),
        amount(one, "figures") or 0, amount(one, "partly_figures") or 0,
        f"{date_text(first)} to {date_text(last)}" if first is not None and last is not None else "",
    )  # fmt: skip
