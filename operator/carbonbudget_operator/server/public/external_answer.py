"""Makes the answer to GET /api/v1/external: sums of what others measured. Runs in a worker process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from carbonbudget_operator.answers.external_summary import external_summary
from carbonbudget_operator.answers.window_parser import WindowError, check_window
from carbonbudget_operator.api.external_bodies import ExternalSum
from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.server.public.row_formats import Cell, instant, render


def external_answer(connection: sa.Connection, cluster: str, given: Mapping[str, Any]) -> bytes:
    """The sums in the format that was asked for, in order of source, scope and method. Raises Refusal."""
    start, end = given["start"], given["end"]
    try:
        check_window((start, end), "all")
    except WindowError as error:
        raise Refusal(400, "malformed", str(error)) from None
    rows = [_row(one) for one in external_summary(connection, cluster, start, end)]
    around = {"start": instant(start), "end": instant(end)}
    return render(given["format"], list(ExternalSum.model_fields), rows, around)


def _row(one: Mapping[str, Any]) -> dict[str, Cell]:
    energy_uj = one["energy_uj"]
    return {
        "source": one["source"],
        "scope": one["scope"],
        "scope_name": one["scope_name"],
        "method": one["method"],
        "figures": one["figures"],
        "accounts": one["accounts"],
        "files": len(one["files"]),
        "emissions_g": one["emissions_ug"] / 1_000_000,
        "emissions_ug": str(one["emissions_ug"]),
        "energy_kwh": None if energy_uj is None else energy_uj / UJ_PER_KWH,
        "energy_uj": None if energy_uj is None else str(energy_uj),
        "first": None if one["from"] is None else instant(one["from"]),
        "last": None if one["to"] is None else instant(one["to"]),
        "partly_figures": one["partly_figures"],
        "partly_g": one["partly_ug"] / 1_000_000,
        "partly_ug": str(one["partly_ug"]),
    }
