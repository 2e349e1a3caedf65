"""What the accounts may do stands in the docs as the chart gives it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from tests.conftest import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]  # helm is the cluster's


def test_the_page_of_rights_is_what_the_chart_renders() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "hack" / "rights", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_each_right_has_its_reason() -> None:
    rows = [line for line in (ROOT / "docs/reference/rights.md").read_text().splitlines() if line.startswith("| ")]
    rights = [row for row in rows if not row.startswith("| where")]
    assert len(rights) > 20
    assert [row for row in rights if re.search(r"\|\s*\|$", row)] == []
