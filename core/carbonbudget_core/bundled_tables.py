"""Reads the CSV tables in the installed packages, and the two tables that agent and operator share."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from importlib import resources


def bundled_rows(package: str, path: str) -> Iterator[dict[str, str]]:
    """The rows of a table of an installed package, one at a time; `path` is within the package."""
    text = resources.files(package).joinpath(*path.split("/")).read_text(encoding="utf-8")
    return iter(csv.DictReader(text.splitlines()))


def cpu_power_rows() -> Iterator[dict[str, str]]:
    """Power of CPUs by microarchitecture, in milliwatts per hardware thread; the row `default` stands for any other."""
    return bundled_rows("carbonbudget_core", "data/cpu_power.csv")


def accelerator_rows() -> Iterator[dict[str, str]]:
    """Power of accelerators in milliwatts."""
    return bundled_rows("carbonbudget_core", "data/accelerators.csv")
