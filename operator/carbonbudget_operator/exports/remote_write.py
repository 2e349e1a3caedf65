"""Writes requests of Prometheus remote write 1.0: protobuf by hand, in a snappy block. Pure.

The messages are those of prometheus/prompb (`WriteRequest`, `TimeSeries`, `Label`, `Sample`). The snappy block holds
literals only, which its format allows (google/snappy, format_description.txt): it costs bytes, and no dependency.

A sample is stamped with the end of its hour: `sum_over_time(x[1d])` at midnight holds the day's 24 hours.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from carbonbudget_operator.energy_units import UJ_PER_KWH
from carbonbudget_operator.exports.exported_rows import FIGURES, ExportedRows

_HOUR: Final = 3600
_MOST_LITERAL: Final = 65_536  # of a literal whose length has two bytes
_TWO_BYTES: Final = b"\xf4"  # tag of such a literal: 61 << 2
_UG_PER_G: Final = 1_000_000


def varint(number: int) -> bytes:
    """Base-128, least significant group first."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def _label(name: str, value: str) -> bytes:
    pair = _field(1, name.encode()) + _field(2, value.encode("utf-8", "replace"))
    return _field(1, pair)


def _series(labels: bytes, value: float, milliseconds: int) -> bytes:
    sample = b"\x09" + struct.pack("<d", value) + b"\x10" + varint(milliseconds)
    return _field(1, labels + _field(2, sample))


def snappy_block(data: bytes) -> bytes:
    """A snappy block of literals alone."""
    parts = [varint(len(data))]
    for at in range(0, len(data), _MOST_LITERAL):
        literal = data[at : at + _MOST_LITERAL]
        parts += (_TWO_BYTES, struct.pack("<H", len(literal) - 1), literal)
    return b"".join(parts)


class RemoteWrite:
    """Samples of a cluster: `carbonbudget_energy_kwh` and `carbonbudget_emissions_grams`, each with its revision.

    Prometheus keeps the first value of a series at an instant and answers 204 to another one. So a restated hour gets
    new series, with a higher `revision`. `carbonbudget_hour_revision` has the latest one of each hour; it is written
    after all rows of the hour. An instant's sum is over the series of that revision alone.
    """

    headers: Final[Mapping[str, str]] = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }

    def __init__(self, cluster: str) -> None:
        self._cluster = _label("cluster", cluster)
        self._heads = []
        for figure in FIGURES:
            name = "carbonbudget_energy_kwh" if figure.is_energy else "carbonbudget_emissions_grams"
            head = _label("__name__", name)
            head += _label("accounting", figure.accounting) if figure.accounting else b""
            head += self._cluster
            head += _label("component", figure.component) if figure.component else b""
            self._heads.append((head, UJ_PER_KWH if figure.is_energy else _UG_PER_G))

    def pieces(self, hour: int, rows: ExportedRows, revision: int) -> Iterator[bytes]:
        """Series of the hour that starts at that UTC second. From revision 2 on zeros too."""
        milliseconds = (hour + _HOUR) * 1000
        its = _label("revision", str(revision))
        for tags, figures in rows.items():
            # In the order of names, which receivers demand: label_..., namespace, revision, workload.
            before = b"".join(_label(name, value) for name, value in tags if name < "revision")
            after = b"".join(_label(name, value) for name, value in tags if name > "revision")
            tail = before + its + after
            for (head, divisor), figure in zip(self._heads, figures, strict=True):
                if figure or revision > 1:
                    yield _series(head + tail, figure / divisor, milliseconds)

    def closing(self, hour: int, revision: int) -> bytes | None:
        """The hour's revision, for a request of its own when all rows are there."""
        labels = _label("__name__", "carbonbudget_hour_revision") + self._cluster + _label("revision", str(revision))
        return _series(labels, float(revision), (hour + _HOUR) * 1000)

    @staticmethod
    def body(pieces: Iterable[bytes]) -> bytes:
        """The body of a request."""
        return snappy_block(b"".join(pieces))
