"""Chromium for the tests of the page, and the accessibility checker that runs in it."""

from __future__ import annotations

import hashlib
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's browser, headless; tests never download one.

    For one module of tests without coroutines: Playwright's event loop runs until the end, and no other can meanwhile.
    """
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("chromium is not installed: hack/test-packages installs it")
    arguments = ["--disable-gpu", "--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    (listed,) = tomllib.loads((ROOT / "tests" / "web" / "axe.toml").read_text())["file"]
    place = ROOT / "build" / "vendor" / listed["name"]
    if not place.exists():
        pytest.skip("axe-core is missing: hack/vendor-web --tests fetches it from npm")
    source = place.read_bytes()
    assert hashlib.sha256(source).hexdigest() == listed["sha256"]
    return source.decode()
