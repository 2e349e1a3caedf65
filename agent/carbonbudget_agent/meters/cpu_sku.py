"""Idle and full power of a CPU by its own model name (its SKU), where /proc/cpuinfo gives one that is known.

Figures: data/cpu_sku.csv, medians per hardware thread of published results, each row with its number of results, its
leave-one-out error and its source. Few results say little: a row is moved towards its family's figures
(cpu_power.csv), which count as much as one result. Clouds that mask the name, or have CPUs of their own, get the
family's figures.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from carbonbudget_core.bundled_tables import bundled_rows

# The family's figures weigh as much as this many results of the SKU; benchmarks/power_model.py shows other weights.
_FAMILY_WEIGHT = 1
# Words of a model name that do not distinguish SKUs.
_COMMON = re.compile(
    r"\((?:r|tm)\)|@.*|\d+-core|\b(?:intel|amd|xeon|epyc|platinum|gold|silver|bronze|cpu|processor)\b|,", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Sku:
    """One CPU model: milliwatts per hardware thread as published, and the error of its moved figures in thousandths."""

    name: str
    microarchitecture: str
    results: int
    idle_mw_per_thread: int
    max_mw_per_thread: int
    error_permille: int


def find_sku(model_name: str) -> Sku | None:
    """The row for a model name of /proc/cpuinfo; None for one that is masked or not known."""
    wanted = _key(model_name)
    rows = bundled_rows("carbonbudget_agent", "data/cpu_sku.csv")
    row = next((row for row in rows if wanted and _key(row["cpu"]) == wanted), None)
    if row is None:
        return None
    return Sku(
        row["cpu"],
        row["microarchitecture"],
        int(row["results"]),
        int(row["idle_mw_per_thread"]),
        int(row["max_mw_per_thread"]),
        int(row["error_permille"]),
    )


def towards_family(sku_mw: int, family_mw: int, results: int) -> int:
    """The mean of a SKU's figure, weighted by its number of results, and its family's."""
    return (results * sku_mw + _FAMILY_WEIGHT * family_mw) // (results + _FAMILY_WEIGHT)


def _key(name: str) -> str:
    """Vendor and what is left of a name without common words: "intel e5-2699 v4"; empty if nothing is left."""
    vendor = next((vendor for vendor in ("intel", "amd") if vendor in name.lower()), "")
    rest = " ".join(_COMMON.sub(" ", name).lower().split())
    return f"{vendor} {rest}" if vendor and any(map(str.isdigit, rest)) else ""
