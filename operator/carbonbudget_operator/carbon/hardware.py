"""What a node's hardware emitted when it was made: configured figures, else generic ones with their source.

A node with a cloud's provider id is a part of a host, by its threads; any other is a whole server. Figures
of devices differ three- to fivefold between sources, so they are a KPI with a range, not an inventory.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

SERVER: Final = "generic rack, compute medium"
GPU: Final = "data-centre GPU 80 GB"


@dataclass(frozen=True, slots=True)
class Embodied:
    """One row of the table: grams of CO2e, low and high where the source gives a range."""

    item: str
    grams: int
    low_grams: int | None
    high_grams: int | None
    year: str
    source: str


@dataclass(frozen=True, slots=True)
class Found:
    """A node's server (or its part of one) and all its GPUs."""

    server_grams: int
    gpu_grams: int
    why: str


def find_hardware(
    cloud: bool, threads: int, gpus: int, server_kg: float | None, gpu_kg: float | None, host_threads: int
) -> Found:
    """`host_threads` is how many a cloud's host is taken to have; None takes the bundled figures."""
    server, gpu = embodied_figures()[SERVER], embodied_figures()[GPU]
    grams = server.grams if server_kg is None else round(server_kg * 1000)
    why = (
        f"server {grams / 1000:g} kg CO2e ({f'{server.item}, {server.source}' if server_kg is None else 'configured'})"
    )
    if cloud and 0 < threads < host_threads:
        grams = grams * threads // host_threads
        why += f", {threads} of {host_threads} threads of it"
    each = gpu.grams if gpu_kg is None else round(gpu_kg * 1000)
    if gpus:
        why += (
            f"; {gpus} GPUs of {each / 1000:g} kg ({f'{gpu.item}, {gpu.source}' if gpu_kg is None else 'configured'})"
        )
    return Found(grams, each * gpus, why)


@cache
def embodied_figures() -> dict[str, Embodied]:
    """The bundled table by item."""
    path = resources.files("carbonbudget_operator") / "carbon" / "data" / "embodied.csv"
    rows = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return {
        row["item"]: Embodied(
            row["item"], int(row["grams"]), _optional(row["low_grams"]), _optional(row["high_grams"]), row["year"],
            row["source"],
        )
        for row in rows
    }  # fmt: skip


def _optional(text: str) -> int | None:
    return int(text) if text else None
