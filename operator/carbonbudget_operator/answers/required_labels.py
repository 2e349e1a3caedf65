"""The energy of pods by the labels that the settings require, and how much of it has not all of them. Pure.

A report and the server's metrics use the same sums. Rows of no pod (idle energy, for example) can have no label and are
left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.ledger.valued_rows import EMBODIED_UG, ENERGY_UJ, LOCATION_UG, MARKET_UG, ValuedRow
from carbonbudget_operator.special_label_values import OTHER_VALUES, UNLABELLED

MOST_VALUES: Final = 1_000  # of one label in a report; tenants choose how many there are
_ENERGY, _LOCATION, _MARKET, _EMBODIED = range(4)
_COLUMNS: Final = ("energy_uj", "location_ug", "market_ug", "embodied_ug")


class RequiredLabels:
    """Sums by label. `pods_uj` is the energy of all pods, `without_uj` that of pods that lack at least one label.

    `without_each_uj` is the energy of pods that lack one label, by label.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """`keys` are the required labels, each once."""
        self.keys = tuple(dict.fromkeys(keys))
        self.pods_uj = 0
        self.without_uj = 0
        self.without_each_uj = dict.fromkeys(self.keys, 0)
        self._values: dict[str, dict[str, list[int]]] = {key: {} for key in self.keys}

    def add(self, row: ValuedRow) -> None:
        """Count one row."""
        if row.special or not self.keys:
            return
        energy_uj, figures = sum(row.figures[ENERGY_UJ]), row.figures
        own = (energy_uj, sum(figures[LOCATION_UG]), sum(figures[MARKET_UG]), figures[EMBODIED_UG])
        self.pods_uj += energy_uj
        complete = True
        for key in self.keys:
            value = row.labels.get(key)
            if value is None:
                complete = False
                self.without_each_uj[key] += energy_uj
            sums = self._values[key].setdefault(UNLABELLED if value is None else value, [0, 0, 0, 0])
            for column, figure in enumerate(own):
                sums[column] += figure
        if not complete:
            self.without_uj += energy_uj

    def all_values(self) -> dict[str, dict[str, dict[str, int]]]:
        """The sums by label and value, none of them folded into `OTHER_VALUES`: to compare with another period's."""
        return {
            key: {value: dict(zip(_COLUMNS, sums, strict=True)) for value, sums in found.items()}
            for key, found in self._values.items()
        }

    def to_json(self) -> dict[str, object]:
        """As a report has it; the values of a label with the largest emissions first, and they add up to all pods."""
        return {
            "required": list(self.keys),
            "pods_energy_uj": self.pods_uj,
            "pods_energy_kwh": kilowatt_hours(self.pods_uj),
            "unlabelled_energy_uj": self.without_uj,
            "unlabelled_energy_kwh": kilowatt_hours(self.without_uj),
            "unlabelled_energy_percent": percent_text(self.without_uj, self.pods_uj),
            "unlabelled_energy_percent_by_label": {
                key: percent_text(uj, self.pods_uj) for key, uj in self.without_each_uj.items()
            },
            "values": {key: _listed(found) for key, found in self._values.items()},
        }


def percent_text(part: int, whole: int) -> str:
    """A share in percent with two decimals, rounded half up; "0.00" where the whole is 0. Neither may be below 0."""
    hundredths = (part * 20_000 + whole) // (2 * whole) if whole else 0
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _listed(found: Mapping[str, list[int]]) -> list[dict[str, object]]:
    ordered = sorted(found, key=lambda value: (-found[value][_LOCATION], -found[value][_ENERGY], value))
    rows = [(value, found[value]) for value in ordered[:MOST_VALUES]]
    if rest := ordered[MOST_VALUES:]:
        rows.append((OTHER_VALUES, [sum(found[value][column] for value in rest) for column in range(4)]))
    return [
        {
            "value": value,
            "energy_uj": sums[_ENERGY],
            "energy_kwh": kilowatt_hours(sums[_ENERGY]),
            "location_ug": sums[_LOCATION],
            "location_g": grams(sums[_LOCATION]),
            "market_ug": sums[_MARKET],
            "market_g": grams(sums[_MARKET]),
            "embodied_ug": sums[_EMBODIED],
            "embodied_g": grams(sums[_EMBODIED]),
        }
        for value, sums in rows
    ]
