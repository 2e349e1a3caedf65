"""Writes InfluxDB line protocol. Pure. The rules are those of the page "Line protocol" of InfluxDB's reference.

A point is stamped with the start of its hour, so that `GROUP BY time(1d)` counts each hour to its own day.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.exports.exported_rows import FIGURES, ExportedRows, Tags
from carbonbudget_operator.line_protocol_text import LARGEST_INTEGER, tag_text


class LineProtocol:
    """Points of a cluster: `carbonbudget_energy` with kwh and microjoules, `carbonbudget_emissions` with grams and
    micrograms.

    The integers are exact. `grams` is their exact decimal text and `kwh` has 12 decimals; receivers round both to a
    64-bit float. A sum above the format's 64 bits has no integer.
    """

    headers: Final[Mapping[str, str]] = {"Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"}

    def __init__(self, cluster: str) -> None:
        middle = f",cluster={tag_text(cluster)}"
        self._heads = []
        for figure in FIGURES:
            measurement = "carbonbudget_energy" if figure.is_energy else "carbonbudget_emissions"
            accounting = f",accounting={figure.accounting}" if figure.accounting else ""
            component = f",component={figure.component}" if figure.component else ""
            self._heads.append((figure.is_energy, f"{measurement}{accounting}{middle}{component}"))

    def pieces(self, hour: int, rows: ExportedRows, revision: int) -> Iterator[bytes]:
        """Points of the hour that starts at that UTC second. From revision 2 on zeros too, since they replace figures.

        The revision is not written: a point replaces the one of the same tags and time.
        """
        for tags, figures in rows.items():
            tail = self._tail(tags)
            for (is_energy, head), figure in zip(self._heads, figures, strict=True):
                if not figure and revision < 2:
                    continue
                if is_energy:
                    fields = f"kwh={kilowatt_hours(figure)}"
                    exact = f",microjoules={figure}i"
                else:
                    fields = f"grams={grams(figure)}"
                    exact = f",micrograms={figure}i"
                yield f"{head}{tail} {fields}{exact if figure <= LARGEST_INTEGER else ''} {hour}".encode()

    def closing(self, hour: int, revision: int) -> bytes | None:
        """Nothing follows an hour's points."""
        return None

    @staticmethod
    def _tail(tags: Tags) -> str:
        return "".join(f",{name}={tag_text(value)}" for name, value in tags)

    @staticmethod
    def body(pieces: Sequence[bytes]) -> bytes:
        """The body of a request."""
        return gzip.compress(b"\n".join(pieces), 1, mtime=0)
