"""Finds the embodied emissions of a node's hardware: configured figures, else generic figures with their source.

A cloud node counts as a part of a host, in proportion to its threads; any other node, and one that is a whole host of
eight GPUs, counts as a whole server. The models of a node's server and GPUs are not known. So the generic figure has
the range of all models and sources in the table: no device of the table lies outside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from carbonbudget_core.bundled_tables import bundled_rows

SERVER: Final = "generic rack, compute medium"
GPU_HOST: Final = "GPU server without GPUs (8-GPU class host)"
GPU: Final = "data-centre GPU 80 GB"
GPUS_OF_A_HOST: Final = 8  # of a host of that class
# The kinds of the table whose rows the range of an item goes over. Systems with their GPUs are of another kind.
_ALIKE: Final = {SERVER: ("server",), GPU_HOST: ("server", "gpu_host"), GPU: ("gpu",)}


@dataclass(frozen=True, slots=True)
class EmbodiedFigure:
    """One row of the bundled table, in grams of CO2e. `low_grams` and `high_grams` are None if there is no range."""

    kind: str
    item: str
    grams: int
    low_grams: int | None
    high_grams: int | None
    year: str
    source: str


@dataclass(frozen=True, slots=True)
class ManufacturingEmissions:
    """Emissions of making an item, in grams of CO2e, with the range over other models and sources."""

    grams: int
    low_grams: int
    high_grams: int

    def part(self, number: int, of: int = 1) -> ManufacturingEmissions:
        """`number` of `of` equal parts, rounded down."""
        return ManufacturingEmissions(
            *(grams * number // of for grams in (self.grams, self.low_grams, self.high_grams))
        )


@dataclass(frozen=True, slots=True)
class HardwareFigures:
    """Embodied emissions of a node's server (or its part of one) and all its GPUs. `why` states the sources."""

    server: ManufacturingEmissions
    gpus: ManufacturingEmissions
    why: str


def find_hardware(
    cloud: bool, threads: int, gpus: int, server_kg: float | None, gpu_kg: float | None, host_threads: int,
    offered_gpus: int = 0,
) -> HardwareFigures:  # fmt: skip
    """Find the figures of a node with `threads` and `gpus`, of which it offers `offered_gpus` to pods.

    A node may offer shares of few GPUs as many, and a meter of a GPU may be missing for a while. So a node is a host of
    eight GPUs if it has or offers so many, and at least half of a host's threads.
    `server_kg` and `gpu_kg` are configured figures in kg CO2e, None for the bundled ones. `host_threads` is the assumed
    number of threads of a cloud's host.
    """
    is_gpu_host = max(gpus, offered_gpus) >= GPUS_OF_A_HOST and 2 * threads >= host_threads
    server, why = _made(GPU_HOST if is_gpu_host else SERVER, server_kg)
    why = f"server {why}"
    if cloud and 0 < threads < host_threads and not is_gpu_host:
        server = server.part(threads, host_threads)
        why += f", {threads} of {host_threads} threads of it"
    gpu, gpu_why = _made(GPU, gpu_kg)
    if gpus:
        why += f"; {gpus} GPUs of {gpu_why}"
    return HardwareFigures(server, gpu.part(gpus), why)


def _made(item: str, configured_kg: float | None) -> tuple[ManufacturingEmissions, str]:
    """The emissions of one item, and their source as text. A configured figure has no range."""
    if configured_kg is not None:
        grams = round(configured_kg * 1000)
        return ManufacturingEmissions(grams, grams, grams), f"{grams / 1000:g} kg CO2e (configured)"
    row, (low, high) = embodied_figures()[item], _range_grams(_ALIKE[item])
    between = f", {low / 1000:g} to {high / 1000:g} kg for other models and sources"
    return ManufacturingEmissions(
        row.grams, low, high
    ), f"{row.grams / 1000:g} kg CO2e ({row.item}, {row.source}, {row.year}{between})"


@cache
def _range_grams(kinds: tuple[str, ...]) -> tuple[int, int]:
    """The least and the greatest figure of the table's rows of these kinds."""
    rows = [row for row in embodied_figures().values() if row.kind in kinds]
    return min(row.low_grams or row.grams for row in rows), max(row.high_grams or row.grams for row in rows)


@cache
def embodied_figures() -> dict[str, EmbodiedFigure]:
    """The rows of the bundled table by item."""
    rows = bundled_rows("carbonbudget_operator", "carbon/data/embodied.csv")
    return {
        row["item"]: EmbodiedFigure(
            row["kind"], row["item"], int(row["grams"]), _optional(row["low_grams"]), _optional(row["high_grams"]),
            row["year"], row["source"],
        )
        for row in rows
    }  # fmt: skip


def _optional(text: str) -> int | None:
    return int(text) if text else None
