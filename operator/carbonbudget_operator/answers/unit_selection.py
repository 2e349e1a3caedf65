"""A selection of units: whose they are, and which labelled units belong to it."""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.api.selector import LabelSelector
from carbonbudget_operator.budgets.coverage import Covers, among, selects
from carbonbudget_operator.ledger.controller_pods import label_sets
from carbonbudget_operator.ledger.labelled_units import KNOWN_WHEN_SEALED, NO_LABELS, LabelledUnits
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

_MAX_LABEL_SETS: Final = 50_000
_NAMED_AT_ONCE: Final = 500  # namespaces in one statement; of more, all are read


@dataclass(frozen=True, slots=True)
class UnitSelection:
    """One counter's units of selected pods. `counter` is its namespace ("" for a query) and digest.

    `client`: the name of units that the pods count themselves, in place of a counter. `namespaces`: none for what a
    query counts that names no pods, which is about the target's pods as a whole.
    """

    counter: tuple[str, str]
    client: str
    namespaces: tuple[str, ...]
    selector: LabelSelector | None
    selector_key: bytes

    @property
    def key(self) -> Hashable:
        """What two selections have in common that have the same units."""
        return (self.counter, self.client, self.namespaces, self.selector_key)


@dataclass(slots=True)
class LabelMatches:
    """Label sets that were read, and which selectors match them. It only grows, because threads share it."""

    sets: dict[int, Mapping[str, str]] = field(default_factory=dict)
    matches: dict[tuple[bytes, int], bool] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether a new one should take its place."""
        return len(self.sets) > _MAX_LABEL_SETS or len(self.matches) > 20 * _MAX_LABEL_SETS

    def load(self, connection: sa.Connection, ids: Iterable[int]) -> None:
        """Read the label sets with these ids that were not read yet. Raises SQLAlchemyError."""
        unknown = {key for key in ids if key > NO_LABELS and key not in self.sets}
        self.sets |= {key: json.loads(text) for key, text in label_sets(connection, unknown).items()}

    def belong(self, row: LabelledUnits, selection: UnitSelection) -> bool:
        """Whether these units, whose label set was loaded, belong to the selection."""
        if row.label_set_id == KNOWN_WHEN_SEALED:
            return False
        if row.label_set_id == NO_LABELS:
            return not selection.namespaces
        if not among(selection.namespaces, row.namespace):
            return False
        if selection.selector is None:
            return True
        key = (selection.selector_key, row.label_set_id)
        found = self.matches.get(key)
        if found is None:
            found = selects(selection.selector, self.sets.get(row.label_set_id, {})) is Covers.YES
            self.matches[key] = found
        return found


def named(namespaces: Collection[str]) -> Collection[str] | None:
    """The namespaces to read; None for all."""
    return None if EVERY_NAMESPACE in namespaces or len(namespaces) > _NAMED_AT_ONCE else namespaces
