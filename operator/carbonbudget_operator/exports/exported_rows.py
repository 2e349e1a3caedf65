"""The rows that a target gets of an hour: sums of valued rows by namespace, workload and chosen labels. Pure.

An hour's rows are the same in every format, so that the digest of their content says whether an hour changed.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from carbonbudget_operator.ledger.valued_rows import EMBODIED_UG, ENERGY_UJ, LOCATION_UG, MARKET_UG, ValuedRow

Tags = tuple[tuple[str, str], ...]  # name and value, in the order of names; no value is empty
ExportedRows = Mapping[Tags, Sequence[int]]  # the figures of each, in the order of FIGURES


@dataclass(frozen=True, slots=True)
class ExportedFigure:
    """One figure of a row: microjoules of IT energy if `is_energy`, else micrograms of CO2e.

    `accounting` is empty for energy; `component` is empty for embodied emissions, which have none.
    """

    is_energy: bool
    accounting: str
    component: str


_COMPONENTS: Final = ("Dynamic", "Idle", "Overhead")
FIGURES: Final = (
    *(ExportedFigure(True, "", component) for component in _COMPONENTS),
    *(ExportedFigure(False, "LocationBased", component) for component in _COMPONENTS),
    *(ExportedFigure(False, "MarketBased", component) for component in _COMPONENTS),
    ExportedFigure(False, "Embodied", ""),
)
NOTHING: Final = (0,) * len(FIGURES)


def exported_rows(rows: Iterable[ValuedRow], labels: Mapping[str, str]) -> dict[Tags, list[int]]:
    """Sum up an hour's rows. `labels` are the keys of pods' labels with the names of their tags.

    The row of no pod has its name (`__idle__` and the like) as namespace, and no workload.
    """
    found: dict[Tags, list[int]] = {}
    names = sorted((tag, key) for key, tag in labels.items())
    for row in rows:
        of_pods = not row.special
        tags = [(tag, value) for tag, key in names if of_pods and (value := row.labels.get(key, ""))]
        tags.append(("namespace", row.namespace))
        if of_pods and row.workload:
            tags.append(("workload", row.workload))
        figures = row.figures
        more = (*figures[ENERGY_UJ], *figures[LOCATION_UG], *figures[MARKET_UG], figures[EMBODIED_UG])
        total = found.get(key := tuple(tags))
        if total is None:
            found[key] = list(more)
            continue
        for index, figure in enumerate(more):
            total[index] += figure
    return found


def content_digest(rows: ExportedRows) -> str:
    """A digest that changes with any figure or tag of an hour: 32 hexadecimal digits."""
    digest = blake2b(digest_size=16)
    for tags in sorted(rows):
        digest.update(repr((tags, tuple(rows[tags]))).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def with_vanished(rows: ExportedRows, earlier: Iterable[Tags]) -> dict[Tags, Sequence[int]]:
    """The rows, and zeros for those that were sent earlier and are not among them any more.

    In the order of tags, always: a batch that the target has is skipped by its number.
    """
    found = dict.fromkeys(earlier, NOTHING) | dict(rows)
    return {tags: found[tags] for tags in sorted(found)}


def packed(tags: Iterable[Tags]) -> bytes:
    """Whom rows are of, compressed, for the ledger."""
    return zlib.compress(json.dumps(sorted(tags), separators=(",", ":")).encode(), 6)


def unpacked(data: bytes | None) -> list[Tags]:
    """The reverse of `packed`; nothing for None."""
    if data is None:
        return []
    return [tuple((name, value) for name, value in tags) for tags in json.loads(zlib.decompress(data))]
