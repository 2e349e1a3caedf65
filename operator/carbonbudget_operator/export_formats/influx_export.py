"""InfluxDB line protocol, stamped with the start of each step in nanoseconds. Pure.

The measurements have other names than those of continuous exports: those have a row for each component, and a sum over
both would count everything twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.export_formats.exported_groups import ExportedCluster, ExportedGroup, series_names
from carbonbudget_operator.line_protocol_text import LARGEST_INTEGER, tag_text


def influx_export(rows: Iterable[ExportedGroup], cluster: ExportedCluster) -> Iterator[str]:
    """Points `carbonbudget_allocation_energy` (kwh, microjoules) and `carbonbudget_allocation_emissions` (grams,
    micrograms) by accounting. The integers are exact. Raises ExportError.
    """
    names = series_names(cluster.fields)
    for row in rows:
        tags = _tags({"cluster": cluster.name, **{names[field]: row.key[field] for field in cluster.fields}})
        at = row.start * 1_000_000_000
        yield (
            f"carbonbudget_allocation_energy{tags} kwh={kilowatt_hours(row.energy_uj)}"
            f"{_exact('microjoules', row.energy_uj)} {at}\n"
        )
        emitted = (("LocationBased", row.location_ug), ("MarketBased", row.market_ug), ("Embodied", row.embodied_ug))
        for accounting, ug in emitted:
            yield (
                f"carbonbudget_allocation_emissions,accounting={accounting}{tags} grams={grams(ug)}"
                f"{_exact('micrograms', ug)} {at}\n"
            )


def _exact(name: str, value: int) -> str:
    """The integer field; a sum above 64 bits has none."""
    return f",{name}={value}i" if value <= LARGEST_INTEGER else ""


def _tags(values: Mapping[str, str]) -> str:
    """Tags in the order of their names; one without a value is not written, because the format has no empty ones."""
    return "".join(f",{name}={tag_text(value)}" for name, value in sorted(values.items()) if value)
