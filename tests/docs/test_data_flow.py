"""The page that follows the data names functions and files that exist."""

from __future__ import annotations

import importlib
import re

import pytest
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "data-flow.md").read_text(encoding="utf-8")
PACKAGES = {"a": "carbonbudget_agent", "c": "carbonbudget_core", "o": "carbonbudget_operator"}
NAMES = sorted(set(re.findall(r"`([aco](?:\.\w+)+)`", PAGE)))


def test_the_page_names_many_functions() -> None:
    assert len(NAMES) > 30


@pytest.mark.parametrize("name", NAMES)
def test_each_function_that_it_names_exists(name: str) -> None:
    letter, *parts = name.split(".")
    found: object = importlib.import_module(PACKAGES[letter])
    path = PACKAGES[letter]
    for part in parts:
        path = f"{path}.{part}"
        if not hasattr(found, part):
            importlib.import_module(path)
        found = getattr(found, part)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:charts|tests)/[\w./-]+)`", PAGE))))
def test_each_file_that_it_names_exists(path: str) -> None:
    assert (ROOT / path).is_file()
