"""How far off the model of a CPU's power is: each published server predicted from the others.

With `--write` it also writes the rows of these CPUs into the bundled tables (cpu_sku.csv of the agent, and the errors
of cpu_power.csv of the core).

Servers: power_model_servers.csv, all SPECpower_ssj2008 results of CPUs launched since 2022 in the file dated 2026-03-09
of cloud-carbon-footprint/ccf-coefficients (Apache-2.0). Threads are chips times the CPU's own: the file counts those of
seven results twice. Results give idle and full power, not the levels between. Power at mid load is the family's curve
between a server's own idle and full power, so the curve's own error is not in these figures. The columns are mean
absolute errors over servers published since 2023, by medians of the family alone and by SKU.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.figures import Figures, show

from carbonbudget_agent.meters.cpu_sku import towards_family
from carbonbudget_agent.meters.power_model import load_curves

SERVERS = Path(__file__).with_name("power_model_servers.csv")
ROOT = Path(__file__).parent.parent
CPU_SKU = ROOT / "agent/carbonbudget_agent/data/cpu_sku.csv"
CPU_POWER = ROOT / "core/carbonbudget_core/data/cpu_power.csv"
SINCE = 2023
SOURCE = (
    "own medians of SPECpower_ssj2008 results (file dated 2026-03-09, in cloud-carbon-footprint/ccf-coefficients); "
    "error: benchmarks/power_model.py"
)
_FEW = 3  # an error of fewer results is not taken for small


@dataclass(frozen=True)
class Server:
    """One result; milliwatts per hardware thread."""

    microarchitecture: str
    cpu: str
    published: int
    idle_mw: float
    full_mw: float


@dataclass(frozen=True)
class Errors:
    """Absolute errors at three loads, as shares of what was measured."""

    idle: float
    mid: float
    full: float

    @property
    def largest(self) -> float:
        return max(self.idle, self.mid, self.full)


def servers() -> list[Server]:
    with SERVERS.open(encoding="utf-8") as file:
        return [
            Server(
                row["microarchitecture"],
                row["cpu"],
                int(row["published"]),
                1000 * float(row["idle_watts"]) / int(row["threads"]),
                1000 * float(row["full_watts"]) / int(row["threads"]),
            )
            for row in csv.DictReader(file)
        ]


def mid_mw(idle_mw: float, full_mw: float, microarchitecture: str) -> float:
    """Power at half load: idle + (full - idle) (u + c u (1 - u)) with u = 0.5."""
    return idle_mw + (full_mw - idle_mw) * (0.5 + 0.25 * load_curves()[microarchitecture].curve_permille / 1000)


def predict(others: Sequence[Server], cpu: str, by_sku: bool) -> tuple[int, int]:
    """Idle and full power of one more server, from others of its family: their medians, moved as the agent does."""
    figures = [round(median(server.idle_mw for server in others)), round(median(server.full_mw for server in others))]
    same = [server for server in others if server.cpu == cpu] if by_sku else []
    if same:
        own = median(server.idle_mw for server in same), median(server.full_mw for server in same)
        figures = [towards_family(round(mw), family, len(same)) for mw, family in zip(own, figures, strict=True)]
    return figures[0], figures[1]


def leave_one_out(everything: Sequence[Server], by_sku: bool) -> dict[Server, list[Errors]]:
    """The errors of each server's prediction from all others of its family; a family of one result has none."""
    found: dict[Server, list[Errors]] = defaultdict(list)
    for index, server in enumerate(everything):
        others = [
            other
            for at, other in enumerate(everything)
            if at != index and other.microarchitecture == server.microarchitecture
        ]
        if others:
            idle_mw, full_mw = predict(others, server.cpu, by_sku)
            family = server.microarchitecture
            true_mw = mid_mw(server.idle_mw, server.full_mw, family)
            found[server].append(
                Errors(
                    abs(idle_mw - server.idle_mw) / server.idle_mw,
                    abs(mid_mw(idle_mw, full_mw, family) - true_mw) / true_mw,
                    abs(full_mw - server.full_mw) / server.full_mw,
                )
            )
    return found


def mean_errors(errors: Sequence[Errors]) -> Errors:
    return Errors(*(mean(getattr(error, load) for error in errors) for load in ("idle", "mid", "full")))


def family_errors(everything: Sequence[Server]) -> dict[str, int]:
    """Thousandths by family, from medians of the family alone. Of few results, not less than of a usual family."""
    grouped: dict[str, list[Errors]] = defaultdict(list)
    for server, errors in leave_one_out(everything, by_sku=False).items():
        grouped[server.microarchitecture] += errors
    found = {family: round(1000 * mean_errors(errors).largest) for family, errors in grouped.items()}
    usual = round(median(found.values()))
    return {family: max(found[family], usual if len(grouped[family]) < _FEW else 0) for family in found}


def sku_rows(everything: Sequence[Server]) -> list[dict[str, str]]:
    """The rows of cpu_sku.csv for these servers. Of few results, the error is not less than the family's."""
    families, errors = family_errors(everything), leave_one_out(everything, by_sku=True)
    rows = []
    for cpu in sorted({server.cpu for server in everything}):
        mine = [server for server in everything if server.cpu == cpu]
        family = mine[0].microarchitecture
        own = mean_errors([error for server in dict.fromkeys(mine) for error in errors[server]])
        error_permille = max(round(1000 * own.largest), families[family] if len(mine) < _FEW else 0)
        rows.append({
            "cpu": cpu, "microarchitecture": family, "results": str(len(mine)),
            "idle_mw_per_thread": str(round(median(server.idle_mw for server in mine))),
            "max_mw_per_thread": str(round(median(server.full_mw for server in mine))),
            "error_permille": str(error_permille), "year": str(max(server.published for server in mine)),
            "source": SOURCE,
        })  # fmt: skip
    return rows


def table(everything: Sequence[Server]) -> list[tuple[str, int, Errors, Errors]]:
    """Mean errors by family and in all, before (families alone) and after, of servers published since SINCE."""
    before, after = (leave_one_out(everything, by_sku) for by_sku in (False, True))
    recent = [server for server in before if server.published >= SINCE]
    found = []
    for family in [*sorted({server.microarchitecture for server in recent}), "all"]:
        mine = [server for server in recent if family in (server.microarchitecture, "all")]
        errors = [[error for server in mine for error in kind[server]] for kind in (before, after)]
        found.append((family, len(errors[0]), mean_errors(errors[0]), mean_errors(errors[1])))
    return found


def write(everything: Sequence[Server]) -> None:
    """Replace the rows of these CPUs, and the errors of these families, in the bundled tables."""
    fresh = sku_rows(everything)
    names = {row["cpu"] for row in fresh}
    kept = [row for row in read(CPU_SKU) if row["cpu"] not in names] if CPU_SKU.exists() else []
    save(CPU_SKU, sorted([*kept, *fresh], key=lambda row: (row["microarchitecture"], row["cpu"])))
    errors = family_errors(everything)
    rows = read(CPU_POWER)
    for row in rows:
        if row["microarchitecture"] in errors:
            row["error_permille"] = str(errors[row["microarchitecture"]])
            row["source"] = SOURCE
    save(CPU_POWER, rows)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def save(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the bundled tables")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given, everything = parser.parse_args(), servers()
    if given.write:
        write(everything)
    rows: list[Figures] = []
    for family, count, *errors in table(everything):
        row: Figures = {"family": family, "servers": count}
        for how, error in zip(("family", "SKU"), errors, strict=True):
            row |= {f"{load} by {how}, %": round(100 * getattr(error, load), 1) for load in ("idle", "mid", "full")}
        rows.append(row)
    show(rows, given.json)


if __name__ == "__main__":
    main()
