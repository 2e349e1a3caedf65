"""OpenMetrics text with timestamps, for `promtool tsdb create-blocks-from openmetrics`. Pure.

A family's samples stand together and in the order of time for each series, so all rows are held in memory. They are
gauges: a value is what was used in the step that ends at its timestamp, and `sum_over_time` adds them up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.export_formats.exported_groups import ExportedCluster, ExportedGroup, hold, series_names

_ENERGY: Final = "carbonbudget_allocation_energy_kilowatt_hours"
_EMISSIONS: Final = "carbonbudget_allocation_emissions_grams"


def openmetrics_export(rows: Iterable[ExportedGroup], cluster: ExportedCluster) -> Iterator[str]:
    """Lines, with `# EOF` at the end. Raises ExportError."""
    names, held = series_names(cluster.fields), list[ExportedGroup]()
    for row in rows:
        hold(held, row)
    held.sort(key=lambda row: (*(row.key[field] for field in cluster.fields), row.start))

    def labels(row: ExportedGroup, accounting: str = "") -> str:
        own = {"cluster": cluster.name, **{names[field]: row.key[field] for field in cluster.fields}}
        return _labels(own | ({"accounting": accounting} if accounting else {}))

    if held:
        yield from _head(_ENERGY, "kilowatt_hours", "IT energy of the step that ends at the timestamp.")
        yield from (f"{_ENERGY}{labels(row)} {kilowatt_hours(row.energy_uj)} {row.end}\n" for row in held)
        yield from _head(_EMISSIONS, "grams", "CO2e of the step that ends at the timestamp, with the PUE.")
    for accounting in ("LocationBased", "MarketBased", "Embodied"):
        for row in held:
            ug = {"LocationBased": row.location_ug, "MarketBased": row.market_ug}.get(accounting, row.embodied_ug)
            yield f"{_EMISSIONS}{labels(row, accounting)} {grams(ug)} {row.end}\n"
    yield "# EOF\n"


def _head(name: str, unit: str, help_text: str) -> Iterator[str]:
    yield f"# TYPE {name} gauge\n"
    yield f"# UNIT {name} {unit}\n"
    yield f"# HELP {name} {help_text}\n"


def _labels(values: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(values.items())) + "}"


def _escaped(value: str) -> str:
    """A label's value; lone surrogates, which UTF-8 cannot write, become question marks."""
    text = value.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
