"""Whose machine a node is, by the provider id and the region in its Node object, and what its region is called here.

There is no rule for provider ids: some have a scheme, some have none, and a scheme does not mean a cloud (k3s, kind).
So each kind is a row of a table with an example. What the table cannot decide is decided by the setting
`carbon.provider`, and the answer says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, Literal

from carbonbudget_core.tables import bundled_rows

Owner = Literal["cloud", "own", "unclear"]
OWN: Final = "own"


@dataclass(frozen=True, slots=True)
class Provider:
    """`name` is a provider of the region table, or empty; `why` is empty unless the owner is not clear."""

    name: str
    owner: Owner
    why: str = ""


@lru_cache(maxsize=16_384)  # a node's id is its own, and is asked for several times an hour
def find_provider(provider_id: str, region: str, configured: str = "") -> Provider:
    """Who runs a node. `configured` decides where the id does not: a provider of the region table, or `own`.

    A distribution's id (k3s, RKE2) is the same on anybody's machines: they are one's own unless that is configured.
    """
    own_by_default = not provider_id  # no cloud controller has named it
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
    what = f"{scheme}://" if separator else "a form that is not known"
    return Provider("", "unclear", f"the provider id ({what}) does not tell whose node it is: set carbon.provider")


def region_name(provider: str, region: str) -> str:
    """The region as the region table has it: providers have short names and numbered ones."""
    return next((row.region for row in _names() if row.provider == provider and row.pattern.fullmatch(region)), region)


def provider_ids() -> list[tuple[str, str, str]]:
    """Of each kind of id: an example, its region, and the provider that it belongs to (empty: none of the table's)."""
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
    """A bundled table's rows."""
    return list(bundled_rows("carbonbudget_operator", f"carbon/data/{name}"))
