"""What `carbonbudget factors` prints of the factors in force: rows for JSON and CSV, and lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from carbonbudget_operator.answers.factors_in_force import FactorsInForce, NodeFactors, SourceState
from carbonbudget_operator.carbon.intensity_text import g_per_kwh

NODE_COLUMNS = (
    "node", "region", "zone", "placed", "location_g_per_kwh", "market_g_per_kwh", "pue", "basis", "why", "embodied",
)  # fmt: skip


def node_rows(nodes: Sequence[NodeFactors]) -> list[dict[str, object]]:
    """A row for each node, with the keys of `NODE_COLUMNS`."""
    return [
        {
            "node": its.node,
            "region": its.region,
            "zone": its.zone,
            "placed": its.placed,
            "location_g_per_kwh": g_per_kwh(its.location_mg_per_kwh),
            "market_g_per_kwh": g_per_kwh(its.market_mg_per_kwh),
            "pue": f"{its.pue_permille / 1000:g}",
            "basis": its.basis,
            "why": f"{its.location_why}; {its.market_why}",
            "embodied": its.embodied_why,
        }
        for its in nodes
    ]


def factors_body(found: FactorsInForce, now: int) -> dict[str, object]:
    """The JSON of all of them; `now` is the UTC second."""
    return {
        "nodes": node_rows(found.nodes),
        "sources": [
            {"source": its.source, "zone": its.zone, "last_answer": _last_answer(its, now), "error": its.error}
            for its in found.sources
        ],
        "stated": [
            {"source": its.source, "zone": its.zone, "g_per_kwh": g_per_kwh(its.mg_per_kwh)} for its in found.stated
        ],
    }


def factor_lines(found: FactorsInForce, cluster: str, now: int) -> Iterator[str]:
    """The lines that people read."""
    if not found.nodes:
        yield f"no node of cluster {cluster} has reported yet"
        return
    for row in node_rows(found.nodes):
        yield f"{row['node']}: zone {row['zone']}, {row['location_g_per_kwh']} g/kWh, PUE {row['pue']}"
        yield f"  {row['why']}"
        yield f"  embodied: {row['embodied']}"
    for its in found.stated:
        yield f"source {its.source}: {g_per_kwh(its.mg_per_kwh)} g/kWh in zone {its.zone}, from the settings"
    for state in found.sources:
        trouble = f", now: {state.error}" if state.error else ""
        yield f"source {state.source}, zone {state.zone}: last answer {_last_answer(state, now)}{trouble}"
    unplaced = sum(not its.placed for its in found.nodes)
    if unplaced:
        yield (
            f"{unplaced} of {len(found.nodes)} nodes cannot be placed: set carbon.zone, or label them with their region"
        )


def _last_answer(state: SourceState, now: int) -> str:
    return f"{(now - state.good_at) // 60} min ago" if state.good_at else "never"
