"""A manifest of the Green Software Foundation's Impact Framework with its inputs, for `if-run`. Pure.

It is JSON, which every reader of YAML reads; so no text of a tenant can be anything but a string. A child of the tree
is a group, its inputs are the steps of time. The pipeline adds operational and embodied emissions to `carbon`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Final

from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.export_formats.exported_groups import ExportedCluster, ExportedGroup, hold, instant_text

_ADDED_UP: Final = {"time": "sum", "component": "sum"}


def _parameter(description: str) -> dict[str, object]:
    return {"description": description, "unit": "gCO2eq", "aggregation-method": _ADDED_UP}


_SUM: Final = {
    "path": "builtin",
    "method": "Sum",
    "config": {"input-parameters": ["carbon-operational", "carbon-embodied"], "output-parameter": "carbon"},
    "parameter-metadata": {
        "inputs": {
            "carbon-operational": _parameter("location-based emissions"),
            "carbon-embodied": _parameter("embodied emissions"),
        },
        "outputs": {"carbon": _parameter("operational and embodied emissions")},
    },
}


def impact_framework_export(rows: Iterable[ExportedGroup], cluster: ExportedCluster) -> Iterator[str]:
    """The manifest in pieces. Raises ExportError."""
    held: list[ExportedGroup] = []
    for row in rows:
        hold(held, row)
    children: dict[str, list[ExportedGroup]] = {}
    for row in held:
        children.setdefault(_child(row), []).append(row)
    head = {
        "name": f"carbonbudget {cluster.name}",
        "description": "By carbonbudget. energy is IT energy; carbon-operational is location-based, with the PUE.",
        "tags": {"kind": "kubernetes", "category": "allocation"},
        "aggregation": {"metrics": ["carbon"], "type": "horizontal"},
        "initialize": {"plugins": {"carbon-total": _SUM}},
    }
    yield json.dumps(head, indent=2)[:-2] + ',\n  "tree": {"children": {\n'
    for number, (name, own) in enumerate(sorted(children.items())):
        yield (
            ",\n" if number else ""
        ) + f'    {json.dumps(name)}: {{"pipeline": {{"compute": ["carbon-total"]}}, "inputs": [\n'
        for place, row in enumerate(sorted(own, key=lambda one: one.start)):
            yield (",\n" if place else "") + _input(row)
        yield "\n    ]}"
    yield "\n  }}\n}\n"


def _child(row: ExportedGroup) -> str:
    """The name of a group; what its fields are is in it, so that no two groups have one name."""
    return json.dumps(list(row.key.values())) if len(row.key) > 1 else next(iter(row.key.values()), "all")


def _input(row: ExportedGroup) -> str:
    """One step. Figures are written with all digits, which a float of the reader may round."""
    return (
        f'      {{"timestamp": {json.dumps(instant_text(row.start))}, "duration": {row.end - row.start}, '
        f'"energy": {kilowatt_hours(row.energy_uj)}, "carbon-operational": {grams(row.location_ug)}, '
        f'"carbon-embodied": {grams(row.embodied_ug)}, "carbon-market-based": {grams(row.market_ug)}}}'
    )
