"""`carbonbudget estimate`: what a run would emit, by well-known formulas, before anything runs."""

from __future__ import annotations

import csv
import json
import sys
from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from carbonbudget_operator.cli.common_options import OutputFormat, fail
from carbonbudget_operator.cli.table_cells import rounded
from carbonbudget_operator.csv_text import csv_cells


def estimate(
    hours: Annotated[str, typer.Option(help="How long it runs.")],
    gpu: Annotated[str, typer.Option(help="Accelerator, for example A100 or 'H100 PCIe'.")] = "",
    count: Annotated[int, typer.Option(min=1, max=100_000, help="How many accelerators.")] = 1,
    cpu_cores: Annotated[int, typer.Option(min=0, max=10_000_000, help="CPU cores.")] = 0,
    cpu_watts: Annotated[int, typer.Option(min=1, max=1000, help="Watts of one core at full use.")] = 12,
    memory_gb: Annotated[int, typer.Option(min=0, max=10_000_000, help="Memory that is reserved.")] = 0,
    usage: Annotated[int, typer.Option(min=1, max=100, help="Per cent of full use.")] = 100,
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, help="How often the whole is run.")] = 1,
    region: Annotated[
        str, typer.Option(help="Cloud region, for example europe-west4; without a place: the world's mean.")
    ] = "",
    provider: Annotated[
        str, typer.Option(help="Whose region it is, for example aws, where several have one of that name.")
    ] = "",
    zone: Annotated[str, typer.Option(help="Grid zone in place of a region, for example DE or US-VA.")] = "",
    pue: Annotated[float | None, typer.Option(min=1, max=5, help="PUE; else the region's, else 1.67.")] = None,
    basis: Annotated[str, typer.Option(help="lifecycle or direct.")] = "lifecycle",
    output: Annotated[OutputFormat, typer.Option("--output", "-o", help="table, json or csv.")] = OutputFormat.TABLE,
) -> None:
    """Estimate a run for planning. It is no measurement, and is never added to what was measured."""
    from carbonbudget_operator.carbon.accelerators import Accelerator, UnknownAccelerator, find_accelerators
    from carbonbudget_operator.carbon.calculators import (
        GREEN_ALGORITHMS,
        UNKNOWN_PUE_PERMILLE,
        EstimateInput,
        green_algorithms,
        ml_co2,
    )
    from carbonbudget_operator.cli.estimate_place import NoPlace, find_place, stand_in_note
    from carbonbudget_operator.decimal_text import grams, kilograms, kilowatt_hours

    if basis not in ("lifecycle", "direct"):
        fail(f"--basis must be lifecycle or direct, not {basis!r}", code=2)
    duration_ms = _milliseconds(hours)
    try:
        factor = find_place(region, provider, zone, pue, basis)
    except NoPlace as error:
        fail(str(error), code=2)
    if not gpu and not cpu_cores:
        fail("give --gpu or --cpu-cores: there is nothing to estimate", code=2)
    try:
        found = find_accelerators(gpu) if gpu else [Accelerator("", 0, "")]
    except UnknownAccelerator as error:
        fail(str(error), code=2)
    chosen, others = found[0], [other for other in found[1:] if other.max_mw != found[0].max_mw]
    pue_permille = factor.pue_permille if factor.pue_known else UNKNOWN_PUE_PERMILLE
    plan = EstimateInput(
        duration_ms=duration_ms, gpus=count if gpu else 0, gpu_mw=chosen.max_mw, cores=cpu_cores,
        core_mw=cpu_watts * 1000, memory_mb=memory_gb * 1000, usage_permille=usage * 10, runs=runs,
    )  # fmt: skip
    results = [green_algorithms(plan, pue_permille, factor.intensity_mg_per_kwh)]
    if gpu:
        results.append(ml_co2(plan, factor.intensity_mg_per_kwh))
    pue_why = factor.pue_why if factor.pue_known else f"PUE {pue_permille / 1000:g} (Green Algorithms' default)"
    other = stand_in_note(factor, basis)
    notes = [*([other] if other else []), f"grid: {factor.grid_why}", f"{pue_why}, not in ML CO2 Impact"]
    if gpu:
        notes.append(f"GPU: {chosen.name}, {chosen.max_mw / 1000:g} W ({chosen.source})")
    if others:
        notes.append("also named so: " + ", ".join(f"{o.name} {o.max_mw / 1000:g} W" for o in others))
    rows = [
        {
            "method": result.method, "estimate": True, "energy_uj": result.energy_uj,
            "energy_kwh": kilowatt_hours(result.energy_uj), "location_ug": result.emissions_ug,
            "location_g": grams(result.emissions_ug), "zone": factor.zone, "basis": factor.basis,
            "g_per_kwh": f"{factor.intensity_mg_per_kwh / 1000:g}",
            "pue": f"{pue_permille / 1000:g}" if result.method == GREEN_ALGORITHMS else "1",
        }
        for result in results
    ]  # fmt: skip
    if other and output is not OutputFormat.TABLE:
        print(f"note: {other}", file=sys.stderr)
    if output is OutputFormat.JSON:
        print(json.dumps({"estimates": rows, "notes": notes}, indent=2))
        return
    if output is OutputFormat.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow([*rows[0], "notes"])
        writer.writerows(csv_cells([*row.values(), "; ".join(notes)]) for row in rows)
        return
    print("Estimates for planning, not measurements:")
    for result in results:
        energy, mass = rounded(kilowatt_hours(result.energy_uj)), rounded(kilograms(result.emissions_ug))
        print(f"  {result.method:18} {energy:>14} kWh {mass:>16} kg CO2e, location-based")
    for note in notes:
        print(f"  {note}")


def _milliseconds(hours: str) -> int:
    try:
        value = Decimal(hours)
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or not 0 < value <= 10_000_000 or not (milliseconds := int(value * 3_600_000)):
        fail(f"--hours must be a number above 0 (a millisecond at least) and at most 10,000,000, not {hours!r}", code=2)
    return milliseconds
