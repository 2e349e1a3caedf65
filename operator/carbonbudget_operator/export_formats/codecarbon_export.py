"""CodeCarbon's emissions.csv of version 3: its 38 columns in their order (`emissions_data.py`). Pure.

A row is one group in one step of time, as if it were a run. `timestamp` is the step's end in UTC. What is not known by
group, such as the CPU's own energy, is empty and not 0. `emissions` is location-based.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from carbonbudget_operator.csv_text import csv_cells
from carbonbudget_operator.decimal_text import kilograms, kilowatt_hours
from carbonbudget_operator.export_formats.csv_export import csv_line
from carbonbudget_operator.export_formats.exported_groups import ExportedCluster, ExportedGroup

CODECARBON_COLUMNS: Final = (
    "timestamp", "project_name", "run_id", "experiment_id", "duration", "emissions", "emissions_rate", "cpu_power",
    "gpu_power", "ram_power", "cpu_energy", "gpu_energy", "ram_energy", "energy_consumed", "water_consumed",
    "country_name", "country_iso_code", "region", "cloud_provider", "cloud_region", "os", "python_version",
    "codecarbon_version", "cpu_count", "cpu_model", "gpu_count", "gpu_model", "longitude", "latitude", "ram_total_size",
    "tracking_mode", "cpu_utilization_percent", "gpu_utilization_percent", "ram_utilization_percent", "ram_used_gb",
    "on_cloud", "pue", "wue",
)  # fmt: skip
_VERSION: Final = "3.0.0+carbonbudget"  # readers look at the number alone
_SPACE: Final = uuid.UUID("5f9c0a56-3c1d-5c64-9e2c-6a0b7f1f7a10")  # ours: the same row always has the same run_id
_MOST_NAME: Final = 200  # our own importer takes names of this length


def codecarbon_export(rows: Iterable[ExportedGroup], cluster: ExportedCluster) -> Iterator[str]:
    """Lines, the header first."""
    yield csv_line(CODECARBON_COLUMNS)
    for row in rows:
        seconds, key = row.end - row.start, [row.key[field] for field in cluster.fields]
        run = repr((cluster.name, row.start, row.end, list(cluster.fields), key)).encode("utf-8", "backslashreplace")
        values = {
            "timestamp": f"{dt.datetime.fromtimestamp(row.end, dt.UTC):%Y-%m-%dT%H:%M:%S}",
            "project_name": row.name if len(row.name) <= _MOST_NAME else f"{row.name[: _MOST_NAME - 3]}...",
            "run_id": str(uuid.uuid5(_SPACE, run.decode())),
            "experiment_id": cluster.name,
            "duration": str(seconds),
            "emissions": kilograms(row.location_ug),
            "emissions_rate": f"{Decimal(row.location_ug) / seconds / 10**9:.18f}",
            "energy_consumed": kilowatt_hours(row.energy_uj),
            "codecarbon_version": _VERSION,
            "tracking_mode": "process",
        }
        yield csv_line(csv_cells(values.get(column, "") for column in CODECARBON_COLUMNS))
