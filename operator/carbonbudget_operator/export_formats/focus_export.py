"""FOCUS 1.2 (FinOps Open Cost and Usage Specification) as CSV, with the columns of 1.0. Pure.

FOCUS has no columns of carbon, so the emissions are in custom columns, whose names must begin with `x_`. Costs are 0:
this format does not use `carbon.price`. A row is one group in one step of time; its consumed
quantity is IT energy in kWh.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from carbonbudget_operator.csv_text import csv_cells, csv_list
from carbonbudget_operator.decimal_text import grams, kilowatt_hours
from carbonbudget_operator.export_formats.csv_export import csv_line
from carbonbudget_operator.export_formats.exported_groups import LABEL, ExportedCluster, ExportedGroup, instant_text

# In the order of their names, as the specification lists them; then ours. Empty ones are null.
COLUMNS: Final = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency",
    "BillingPeriodEnd", "BillingPeriodStart", "CapacityReservationId", "CapacityReservationStatus", "ChargeCategory",
    "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "CommitmentDiscountCategory", "CommitmentDiscountId", "CommitmentDiscountName", "CommitmentDiscountQuantity",
    "CommitmentDiscountStatus", "CommitmentDiscountType", "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit",
    "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceId", "InvoiceIssuerName", "ListCost",
    "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "PricingQuantity", "PricingUnit", "ProviderName",
    "PublisherName", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory",
    "ServiceName", "ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId",
    "SubAccountName", "SubAccountType", "Tags",
)  # fmt: skip
CUSTOM: Final = (
    "x_CarbonLocationBasedGrams", "x_CarbonMarketBasedGrams", "x_EmbodiedGrams", "x_EnergyKilowattHours",
    "x_LocationBasedGramsPerKilowattHour", "x_MeasuredPercent", "x_FactorIds",
)  # fmt: skip
_NAME: Final = "carbonbudget"


def focus_export(rows: Iterable[ExportedGroup], cluster: ExportedCluster) -> Iterator[str]:
    """Lines, the header first."""
    yield csv_line([*COLUMNS, *CUSTOM])
    for row in rows:
        values = _values(row, cluster)
        tags, factors = _tags(row.key), csv_list(row.factors)
        cells = dict(zip(values, csv_cells(values.values()), strict=True)) | {"Tags": tags, "x_FactorIds": factors}
        yield csv_line([cells.get(column, "") for column in (*COLUMNS, *CUSTOM)])


def _values(row: ExportedGroup, cluster: ExportedCluster) -> dict[str, str]:
    kwh = kilowatt_hours(row.energy_uj)
    first, after = _month(row.start)
    kind, _, workload = row.key.get("workload", "").rpartition("/")
    namespace = row.key.get("namespace", "")
    return {
        "BillingAccountId": cluster.name, "BillingAccountName": cluster.name, "BillingAccountType": "Cluster",
        "BillingCurrency": cluster.currency, "BillingPeriodStart": first, "BillingPeriodEnd": after,
        "ChargePeriodStart": instant_text(row.start), "ChargePeriodEnd": instant_text(row.end),
        "ChargeCategory": "Usage", "ChargeFrequency": "Usage-Based",
        "ChargeDescription": f"IT energy of {row.name}, and emissions with cooling and power supply",
        "BilledCost": "0.00", "ContractedCost": "0.00", "EffectiveCost": "0.00", "ListCost": "0.00",
        "ContractedUnitPrice": "0.00", "ListUnitPrice": "0.00",
        "ConsumedQuantity": kwh, "ConsumedUnit": "kWh", "PricingQuantity": kwh, "PricingUnit": "kWh",
        "PricingCategory": "Standard", "PricingCurrency": cluster.currency,
        "InvoiceIssuerName": _NAME, "ProviderName": _NAME, "PublisherName": _NAME,
        "ResourceId": row.name, "ResourceName": workload or row.name, "ResourceType": kind or "Group of pods",
        "ServiceCategory": "Compute", "ServiceName": "Kubernetes", "ServiceSubcategory": "Containers",
        "SkuId": "it-energy", "SkuPriceId": "it-energy-without-price",
        "SubAccountId": namespace, "SubAccountName": namespace, "SubAccountType": "Namespace" if namespace else "",
        "x_CarbonLocationBasedGrams": grams(row.location_ug), "x_CarbonMarketBasedGrams": grams(row.market_ug),
        "x_EmbodiedGrams": grams(row.embodied_ug), "x_EnergyKilowattHours": kwh,
        "x_LocationBasedGramsPerKilowattHour": _mean(row), "x_MeasuredPercent": str(row.measured_percent),
    }  # fmt: skip


def _tags(key: Mapping[str, str]) -> str:
    """The labels as one JSON object in ASCII, which begins with a brace and so is no formula."""
    return json.dumps({field.removeprefix(LABEL): value for field, value in key.items() if field.startswith(LABEL)})


def _mean(row: ExportedGroup) -> str:
    """Location-based grams by kWh of IT energy, the facility's overhead included; rounded down to a milligram."""
    if not row.energy_uj:
        return ""
    milligrams = row.location_ug * 3_600_000_000 // row.energy_uj
    return f"{milligrams // 1000}.{milligrams % 1000:03d}"


def _month(start: int) -> tuple[str, str]:
    first = dt.datetime.fromtimestamp(start, dt.UTC).replace(day=1, hour=0, minute=0, second=0)
    after = (first + dt.timedelta(days=32)).replace(day=1)
    return instant_text(int(first.timestamp())), instant_text(int(after.timestamp()))
