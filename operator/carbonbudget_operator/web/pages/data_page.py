"""The page of the data: who you are to the server, which nodes report, refused reports, exports, external figures."""

from __future__ import annotations

import time
from typing import Any

from starlette.responses import Response

from carbonbudget_core.jsons import JsonObject, at, items
from carbonbudget_operator.web.page_handling import PageHandling, Visit
from carbonbudget_operator.web.page_questions import NotShown
from carbonbudget_operator.web.views.answer_figures import second, utc_text, word
from carbonbudget_operator.web.views.node_view import nodes
from carbonbudget_operator.web.views.status_view import exports, external, refusals

WINDOWS = (("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))


async def show_data(handling: PageHandling, visit: Visit) -> Response:
    """Each part stands for itself: one whose right is missing says so, and the others are shown."""
    window = visit.given("window", "24h")
    whoami, status, reported, others = await visit.questions.ask(
        ("/api/v1/whoami", ()), ("/api/v1/status", ()), ("/api/v1/nodes", [("window", window), ("limit", "1000")]),
        ("/api/v1/external", [("window", window)]),
    )  # fmt: skip
    found = [] if isinstance(reported, NotShown) else nodes(reported, int(time.time()))
    return handling.page(
        "data.html", visit, title="Data", here="data", window=window, windows=WINDOWS,
        whoami=None if isinstance(whoami, NotShown) else _who(whoami), server=_status(status), nodes=found,
        whoami_note=str(whoami) if isinstance(whoami, NotShown) else "",
        status_note=str(status) if isinstance(status, NotShown) else "",
        nodes_note=str(reported) if isinstance(reported, NotShown) else "",
        reporting=sum(one.state == "reports" for one in found), **_known(status),
        external=None if isinstance(others, NotShown) else external(others),
    )  # fmt: skip


def _known(status: JsonObject | NotShown) -> dict[str, Any]:
    """Refused reports and exports; `refused` is None where the server does not tell."""
    if isinstance(status, NotShown) or "refused" not in status:
        return {"refused": None, "exports": (), "refused_since": "", "refused_more": 0}
    shown = refusals(status)
    return {
        "refused": shown,
        "refused_since": utc_text(second(status, "refused_since")),
        "refused_more": len(items(status.get("refused"))) - len(shown),
        "exports": exports(status),
    }


def _who(answer: JsonObject) -> dict[str, str]:
    names = [str(name) for name in items(answer.get("namespaces"))]
    everything = answer.get("all_namespaces") is True
    read = "all namespaces" if everything else ", ".join(names) or "no namespace that runs pods"
    return {"user": word(answer, "user"), "read": read, "token": _read_token(answer)}


def _read_token(answer: JsonObject) -> str:
    """Which read token the page sends, and whose rights it has; empty where it sends another token."""
    used = at(answer, "token")
    if not used:
        return ""
    name = f', "{word(used, "name")}"' if word(used, "name") else ""
    return f"read token {used.get('id')}{name}, created by {word(answer, 'user')}"


def _status(answer: JsonObject | NotShown) -> dict[str, str] | None:
    if isinstance(answer, NotShown):
        return None
    return {
        "cluster": word(answer, "cluster"),
        "version": word(answer, "version"),
        "settings": word(answer, "settings"),
        "data_through": utc_text(second(answer, "data_through")),
    }
