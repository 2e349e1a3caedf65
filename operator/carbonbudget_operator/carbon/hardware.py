"""What a node's hardware emitted when it was made: configured figures, else generic ones with their source.

A node with a cloud's provider id is a part of a host, by its threads; any other is a whole server. Figures
of devices differ three- to fivefold between sources, so they are a KPI with a range, not an inventory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from carbonbudget_core.tables import bundled_rows

SERVER: Final = "generic rack, compute medium"
GPU: Final = "data-centre GPU 80 GB"


@dataclass(frozen=True, slots=True)
class EmbodiedFigure:
    """One row of the table: grams of CO2e, low and high where the source gives a range."""

    item: str
    grams: int
    low_grams: int | None
    high_grams: int | None
    year: str
    source: str


@dataclass(frozen=True, slots=True)
class ManufacturingEmissions:
    """What making something emitted, in grams, and between which figures sources put it."""

    grams: int
    low_grams: int
    high_grams: int

    def part(self, number: int, of: int = 1) -> ManufacturingEmissions:
        """So many of so many parts."""
        return ManufacturingEmissions(
            *(grams * number // of for grams in (self.grams, self.low_grams, self.high_grams))
        )


@dataclass(frozen=True, slots=True)
class HardwareFigures:
    """A node's server (or its part of one) and all its GPUs."""

    server: ManufacturingEmissions
    gpus: ManufacturingEmissions
    why: str


def find_hardware(
    cloud: bool, threads: int, gpus: int, server_kg: float | None, gpu_kg: float | None, host_threads: int
) -> HardwareFigures:
    """`host_threads` is how many a cloud's host is taken to have; None takes the bundled figures."""
    server, why = _made(SERVER, server_kg)
    why = f"server {why}"
    if cloud and 0 < threads < host_threads:
        server = server.part(threads, host_threads)
        why += f", {threads} of {host_threads} threads of it"
    gpu, gpu_why = _made(GPU, gpu_kg)
    if gpus:
        why += f"; {gpus} GPUs of {gpu_why}"
    return HardwareFigures(server, gpu.part(gpus), why)


def _made(item: str, configured_kg: float | None) -> tuple[ManufacturingEmissions, str]:
    """One of them, and its figure in words. A figure that is configured has no range."""
    if configured_kg is not None:
        grams = round(configured_kg * 1000)
        return ManufacturingEmissions(grams, grams, grams), f"{grams / 1000:g} kg CO2e (configured)"
    row = embodied_figures()[item]
    low, high = row.low_grams or row.grams, row.high_grams or row.grams
    between = f", {low / 1000:g} to {high / 1000:g} kg by others" if low < high else ""
    return ManufacturingEmissions(
        row.grams, low, high
    ), f"{row.grams / 1000:g} kg CO2e ({row.item}, {row.source}, {row.year}{between})"


@cache
def embodied_figures() -> dict[str, EmbodiedFigure]:
    """The bundled table by item."""
    rows = bundled_rows("carbonbudget_operator", "carbon/data/embodied.csv")
    return {
        row["item"]: EmbodiedFigure(
            row["item"], int(row["grams"]), _optional(row["low_grams"]), _optional(row["high_grams"]), row["year"],
            row["source"],
        )
        for row in rows
    }  # fmt: skip


def _optional(text: str) -> int | None:
    return int(text) if text else None
