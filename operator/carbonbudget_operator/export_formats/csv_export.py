"""The columns of `carbonbudget allocate -o csv`, once for each step of time. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

from carbonbudget_operator.csv_text import csv_cells, csv_list
from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.export_formats.exported_groups import ExportedCluster, ExportedGroup, instant_text


def csv_export(rows: Iterable[ExportedGroup], cluster: ExportedCluster) -> Iterator[str]:
    """Lines, the header first; decimals are exact."""
    yield csv_line([
        "start", "end", "cluster", *csv_cells(cluster.fields), "energy_kwh", "location_g", "market_g", "embodied_g",
        "measured_percent", "energy_uj", "location_ug", "market_ug", "embodied_ug", "factors",
    ])  # fmt: skip
    for row in rows:
        figures = (
            kilowatt_hours(row.energy_uj), grams(row.location_ug), grams(row.market_ug), grams(row.embodied_ug),
            row.measured_percent, row.energy_uj, row.location_ug, row.market_ug, row.embodied_ug,
        )  # fmt: skip
        keys = (row.key[field] for field in cluster.fields)
        cells = csv_cells([instant_text(row.start), instant_text(row.end), cluster.name, *keys, *figures])
        yield csv_line([*cells, csv_list(row.factors)])


def csv_line(cells: Sequence[str]) -> str:
    """One line of a CSV file with its end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
