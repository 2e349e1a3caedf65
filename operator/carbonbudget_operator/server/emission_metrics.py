"""Energy and emissions of the last hour as gauges, for dashboards.

Gauges and not counters: a figure that is revised may fall, and Prometheus would take that for a reset and add the whole
value. `avg_over_time()` times the hours gives a sum.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from carbonbudget_operator.answers.emission_rates import COMPONENTS, Figures, HourEmissions, accounted, emission_rates
from carbonbudget_operator.answers.required_labels import RequiredLabels
from carbonbudget_operator.ledger.valued_rows import ENERGY_UJ
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_MICRO = 1_000_000
_HOUR = 3600
# The hour that is shown begins one to two hours ago while agents report; a late one may take another hour.
_STALE_SECONDS = 4 * _HOUR
_ANY = "__any__"


class EmissionMetrics(Collector):
    """The gauges; `step` reads the ledger when the hour has changed, so that a scrape reads nothing."""

    def __init__(
        self, book: ValuedReader, label_keys: Sequence[str], most: int, now: Callable[[], float] = time.time,
        required_keys: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """`most`: values of `namespace` and of each label, and models, with series of their own. `now`: UTC seconds.

        `required_keys` are the labels that every pod should have.
        """
        self._now = now
        self._book, self._keys, self._most, self._required = book, label_keys, most, required_keys
        self._rates: HourEmissions | None = None

    async def step(self) -> None:
        """Bring them up to date. Raises LedgerError."""
        known = "" if self._rates is None else self._rates.version
        found = await asyncio.to_thread(
            emission_rates, self._book, self._keys, self._most, known, required_keys=self._required
        )
        self._rates = found or self._rates

    def describe(self) -> Iterator[Metric]:
        """Nothing to ask at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Called with each scrape."""
        rates = self._rates
        if rates is None:
            return
        yield GaugeMetricFamily(
            "carbonbudget_emissions_hour_timestamp_seconds", "Start of the hour that these figures are of.", rates.hour
        )
        if self._now() - rates.hour > _STALE_SECONDS:
            return  # an average over time must not go on adding what is not emitted any more
        emitted = GaugeMetricFamily(
            "carbonbudget_emissions_rate_grams_per_hour", "CO2e of the last hour that is over.",
            labels=["namespace", "accounting", "component"],
        )  # fmt: skip
        power = GaugeMetricFamily(
            "carbonbudget_energy_rate_watts", "Mean power of the last hour that is over.",
            labels=["namespace", "component"],
        )  # fmt: skip
        for namespace, figures in rates.by_namespace.items():
            for (accounting, component), ug in accounted(figures).items():
                emitted.add_metric([namespace, accounting, component], ug / _MICRO)
            for component, uj in zip(COMPONENTS, figures[ENERGY_UJ], strict=True):
                power.add_metric([namespace, component], uj / _MICRO / _HOUR)
        by_label = GaugeMetricFamily(
            "carbonbudget_label_emissions_rate_grams_per_hour",
            "CO2e of the last hour that is over, all components, of pods by the labels that the settings name.",
            labels=["label", "value", "accounting"],
        )
        label_power = GaugeMetricFamily(
            "carbonbudget_label_energy_rate_watts", "Mean power of the last hour that is over, of pods by label.",
            labels=["label", "value"],
        )  # fmt: skip
        by_model = GaugeMetricFamily(
            "carbonbudget_model_emissions_rate_grams_per_hour",
            "CO2e of the last hour that is over, all components, of pods with the label carbonbudget.dev/model.",
            labels=["namespace", "model", "accounting"],
        )
        model_power = GaugeMetricFamily(
            "carbonbudget_model_energy_rate_watts", "Mean power of the last hour that is over, of pods by model.",
            labels=["namespace", "model"],
        )  # fmt: skip
        by_version = GaugeMetricFamily(
            "carbonbudget_model_version_emissions_rate_grams_per_hour",
            "CO2e of the last hour that is over, all components, of pods by model and carbonbudget.dev/model-version.",
            labels=["namespace", "model", "version", "accounting"],
        )
        for pairs, grams, watts in (
            (rates.by_label, by_label, label_power), (rates.by_model, by_model, model_power),
        ):  # fmt: skip
            for pair, figures in pairs.items():
                _add_emissions(grams, pair, figures)
                watts.add_metric(pair, sum(figures[ENERGY_UJ]) / _MICRO / _HOUR)
        for names, figures in rates.by_model_version.items():
            _add_emissions(by_version, names, figures)
        intensity = GaugeMetricFamily(
            "carbonbudget_grid_intensity_grams_per_kilowatt_hour",
            "What the energy of a zone's nodes was valued by in the last hour that is over, without the PUE.",
            labels=["zone", "basis"],
        )
        pue = GaugeMetricFamily(
            "carbonbudget_power_usage_effectiveness_ratio", "The PUE of a zone's nodes.", labels=["zone"]
        )
        for zone in dict.fromkeys(one.zone for one in rates.intensities):
            of_zone = [one for one in rates.intensities if one.zone == zone]
            for basis in dict.fromkeys(one.basis for one in of_zone):
                highest = max(one.mg_per_kwh for one in of_zone if one.basis == basis)
                intensity.add_metric([zone, basis], highest / 1000)
            pue.add_metric([zone], max(one.pue_permille for one in of_zone) / 1000)
        yield from (emitted, power, by_label, label_power, by_model, model_power, by_version, intensity, pue)
        yield GaugeMetricFamily(
            "carbonbudget_measured_ratio", "Share of the hour's energy that a meter measured; the rest is modelled.",
            rates.measured_percent / 100,
        )  # fmt: skip
        if rates.required.pods_uj and rates.required.keys:
            yield _unlabelled(rates.required)
        if rates.coverage_percent is not None:
            yield GaugeMetricFamily(
                "carbonbudget_coverage_ratio", "Share of the hour's node-time that was reported.",
                rates.coverage_percent / 100,
            )  # fmt: skip


def _add_emissions(family: GaugeMetricFamily, names: Sequence[str], figures: Figures) -> None:
    """A series for each accounting, of all components."""
    sums: dict[str, int] = {}
    for (accounting, _), ug in accounted(figures).items():
        sums[accounting] = sums.get(accounting, 0) + ug
    for accounting, ug in sums.items():
        family.add_metric([*names, accounting], ug / _MICRO)


def _unlabelled(required: RequiredLabels) -> Metric:
    """One series for each required label, and one for pods that lack any of them."""
    family = GaugeMetricFamily(
        "carbonbudget_unlabelled_energy_ratio",
        "Share of the pods' energy of the hour that is of pods without a required label.",
        labels=["label"],
    )
    for key, without_uj in {_ANY: required.without_uj, **required.without_each_uj}.items():
        family.add_metric([key], without_uj / required.pods_uj)
    return family
