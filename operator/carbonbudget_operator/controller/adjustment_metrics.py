"""The metrics of transfers and credits. None has a label of a tenant's choice."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from carbonbudget_operator.budgets.transfers import TransferOutcome

_UG_PER_G = 1_000_000
_DECIDED = (TransferOutcome.APPLIED, TransferOutcome.REFUSED)


class AdjustmentMetrics:
    """What this process decided and booked since its start. The ledger has the whole."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._transfers = Counter(
            "carbonbudget_transfers", "CarbonTransfers that were decided, by state.", ("state",), registry=registry
        )
        self._waiting = Gauge(
            "carbonbudget_transfers_waiting", "CarbonTransfers that are not decided yet.", registry=registry
        )
        self._credits = Counter(
            "carbonbudget_credits", "Windows of targets that were credited to budgets.", registry=registry
        )
        self._credited = Counter("carbonbudget_credited_grams", "CO2e that was credited to budgets.", registry=registry)
        self._failures = Counter(
            "carbonbudget_adjustment_round_failures",
            "Rounds of transfers or credits that failed and are tried again.",
            ("what",),
            registry=registry,
        )
        for outcome in _DECIDED:  # shown from the start, so that the first one is a rise
            self._transfers.labels(outcome.value)
        for what in ("transfers", "credits"):
            self._failures.labels(what)

    def decided(self, outcome: TransferOutcome) -> None:
        """Count a transfer whose decision is written."""
        self._transfers.labels(outcome.value).inc()

    def waiting(self, number: int) -> None:
        """Set how many wait."""
        self._waiting.set(number)

    def credited(self, micrograms: int) -> None:
        """Count a credit that is booked."""
        self._credits.inc()
        self._credited.inc(micrograms / _UG_PER_G)

    def failed(self, what: str) -> None:
        """Count a round of "transfers" or "credits" that failed."""
        self._failures.labels(what).inc()
