"""The server's own metrics about the ledger, which are computed at each scrape."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from carbonbudget_operator.answers.budget_use import BudgetUseQueries
from carbonbudget_operator.ingest.connection_peers import ConnectionPeers
from carbonbudget_operator.ledger.unreadable_rows import left_out
from carbonbudget_operator.ledger.writer import LedgerWriter


class ServerMetrics(Collector):
    """How far the ledger's data reaches, what committing costs, and what was left out."""

    def __init__(self, writer: LedgerWriter, queries: BudgetUseQueries, peers: ConnectionPeers) -> None:
        self._writer, self._queries, self._peers = writer, queries, peers

    def collect(self) -> Iterator[Metric]:
        """Called with each scrape."""
        yield GaugeMetricFamily(
            "carbonbudget_ledger_data_through_timestamp_seconds",
            "UTC second up to which every node that reports has reported; 0 without a report.",
            self._queries.data_through(),
        )
        yield CounterMetricFamily("carbonbudget_ledger_commits", "Transactions committed.", value=self._writer.batches)
        yield CounterMetricFamily(
            "carbonbudget_ledger_commit_seconds", "Time spent committing.", value=self._writer.commit_seconds
        )

        yield CounterMetricFamily(
            "carbonbudget_ledger_label_values_collapsed",
            "Label values kept as __other__, and labels left out, because a namespace had too many in a day.",
            value=self._writer.ids.label_bound.collapsed,
        )
        yield CounterMetricFamily(
            "carbonbudget_ledger_owners_left_out",
            "Pods kept without the controller in their ownerReferences, because no object can have its kind or name.",
            value=self._writer.ids.owners_left_out,
        )
        yield GaugeMetricFamily(
            "carbonbudget_ledger_unreadable_rows",
            "Rows read since the server's start that hold something else than whole numbers and were left out.",
            left_out.rows,
        )
        yield GaugeMetricFamily(
            "carbonbudget_ledger_node_hours_left_out",
            "Hours of nodes read since the server's start that could not be valued and were left out.",
            left_out.node_hours,
        )

        yield CounterMetricFamily(
            "carbonbudget_tracked_windows_capped",
            "Windows of tracked pods that were not stored, because their namespace has too many such pods.",
            value=self._writer.tracked.capped,
        )
        yield CounterMetricFamily(
            "carbonbudget_connections_cut",
            "Connections ended because an address, a caller or all of them together had too many.",
            value=self._peers.cut,
        )

    def describe(self) -> Iterator[Metric]:
        """Nothing to ask at registration: the ledger is read at a scrape only."""
        return iter(())
