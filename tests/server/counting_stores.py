"""Real stores that answer Prometheus' HTTP API, with any samples that a test writes into them."""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.exports.receivers import PrometheusReceiver, VictoriaMetrics
from tests.prometheus import until

from carbonbudget_operator.exports.remote_write import RemoteWrite, _field, _label, snappy_block, varint

END_OF_SERIES: Final = struct.pack("<Q", 0x7FF0000000000002)  # Prometheus' staleness marker, a NaN
Samples = Iterable[tuple[float, str]]


class CountingStore:
    """A store, to which samples are sent by remote write. `END` in place of a value ends the series."""

    END = "end"

    def __init__(self, store: PrometheusReceiver | VictoriaMetrics) -> None:
        self.receiver, self.url = store, store.url

    def write(self, series: Mapping[tuple[tuple[str, str], ...], Samples]) -> None:
        """Add samples by labels, and wait until they are there."""
        body = b"".join(_series(dict(labels), samples) for labels, samples in series.items())
        request = urllib.request.Request(f"{self.url}/api/v1/write", snappy_block(body), dict(RemoteWrite.headers))
        with urllib.request.urlopen(request, timeout=30):
            pass
        if isinstance(self.receiver, VictoriaMetrics):
            self.receiver.get_text("/internal/force_flush")

    def raw(self, query: str, at: float) -> list[dict[str, object]]:
        """The result of a query."""
        found: list[dict[str, object]] = self.receiver.get("/api/v1/query", query=query, time=f"{at:.3f}")["data"][
            "result"
        ]
        return found

    def stop(self) -> None:
        """End it."""
        self.receiver.stop()


def _series(labels: Mapping[str, str], samples: Samples) -> bytes:
    made = b"".join(_label(name, labels[name]) for name in sorted(labels))
    for at, value in samples:
        number = END_OF_SERIES if value == CountingStore.END else struct.pack("<d", float(value))
        made += _field(2, b"\x09" + number + b"\x10" + varint(round(at * 1000)))
    return _field(1, made)


def started(name: str, directory: Path) -> CountingStore:
    """One of `STORES`."""
    store = CountingStore(STORES[name](directory))
    until("the store to answer", lambda: store.raw("vector(1)", 1_700_000_000))
    return store


STORES: Final = {"prometheus": PrometheusReceiver, "victoria-metrics": VictoriaMetrics}
