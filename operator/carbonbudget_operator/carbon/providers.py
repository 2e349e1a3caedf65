"""Finds the provider of a node by its provider id and region, and the region's name in the region table.

Provider ids have no common form: some have no scheme, and a scheme does not imply a cloud (k3s, kind). So each form is
a row of a table, with an example. If the table does not decide, the setting `carbon.provider` does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, Literal

from carbonbudget_core.bundled_tables import bundled_rows

Owner = Literal["cloud", "own", "unclear"]
OWN: Final = "own"


@dataclass(frozen=True, slots=True)
class Provider:
    """Provider of a node. `name` is a provider of the region table, or empty. `why` explains the owner `unclear`."""

    name: str
    owner: Owner
    why: str = ""


@lru_cache(maxsize=16_384)  # each node has its own id, which is looked up several times an hour
def find_provider(provider_id: str, region: str, configured: str = "") -> Provider:
    """The provider of a node. `configured` (a provider of the region table, or `own`) is used for unclear ids.

    The id of a distribution (k3s, RKE2) does not depend on the provider, so its nodes are `own` unless configured.
    """
    own_by_default = not provider_id  # no cloud controller has set it
    for row in _ids():
        if row.pattern.fullmatch(provider_id) and (row.owner != "region" or _is_region(row.provider, region)):
            if row.owner in ("cloud", "region"):
                return Provider(row.provider, "cloud")
            if row.owner == "own":
                return Provider("", "own")
            own_by_default = row.owner == "distribution"
            break
    if configured:
        return Provider("", "own") if configured == OWN else Provider(configured, "cloud")
    scheme, separator, _ = provider_id.partition("://")
    if own_by_default:
        return Provider("", "own")
    what = f"{scheme}://" if separator else "of an unknown form"
    return Provider("", "unclear", f"the provider id ({what}) does not identify the provider: set carbon.provider")


def region_name(provider: str, region: str) -> str:
    """The name of the region in the region table. Some providers also use short or numbered names."""
    return next((row.region for row in _names() if row.provider == provider and row.pattern.fullmatch(region)), region)


def provider_ids() -> list[tuple[str, str, str]]:
    """For each form of id: an example, its region, and its provider in the region table (empty: none)."""
    return [(row.example_id, row.example_region, row.provider) for row in _ids()]


@dataclass(frozen=True, slots=True)
class _Id:
    pattern: re.Pattern[str]
    provider: str
    owner: str
    example_id: str
    example_region: str


@dataclass(frozen=True, slots=True)
class _Name:
    provider: str
    pattern: re.Pattern[str]
    region: str


def _is_region(provider: str, region: str) -> bool:
    return any(row.provider == provider and row.pattern.fullmatch(region) for row in _names())


@cache
def _ids() -> tuple[_Id, ...]:
    return tuple(
        _Id(re.compile(row["pattern"]), row["provider"], row["owner"], row["example_id"], row["example_region"])
        for row in read_table("provider_ids.csv")
    )


@cache
def _names() -> tuple[_Name, ...]:
    rows = read_table("region_names.csv")
    return tuple(_Name(row["provider"], re.compile(row["pattern"]), row["region"]) for row in rows)


def read_table(name: str) -> list[dict[str, str]]:
    """The rows of a bundled table of `carbon/data/`."""
    return list(bundled_rows("carbonbudget_operator", f"carbon/data/{name}"))
