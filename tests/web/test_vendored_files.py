"""Files of others in the page are as their publishers made them, with their licences."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

from carbonbudget_operator.web.rendering import STATIC

VENDOR = STATIC / "vendor"


def test_each_vendored_file_has_its_hash_and_there_is_no_other() -> None:
    listed = tomllib.loads((VENDOR / "VENDOR.toml").read_text())["file"]
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VENDOR.iterdir()}
    found.pop("VENDOR.toml")
    assert found == {one["name"]: one["sha256"] for one in listed}


def test_each_vendored_package_has_its_licence_beside_it() -> None:
    listed = tomllib.loads((VENDOR / "VENDOR.toml").read_text())["file"]
    assert {one["package"] for one in listed} == {one["package"] for one in listed if one["source"] == "LICENSE"}


def test_the_pages_own_files_name_no_other_host() -> None:
    own = [path for path in STATIC.parent.rglob("*") if path.suffix in (".css", ".html") and "vendor" not in path.parts]
    assert len(own) > 5
    for path in own:
        text = Path(path).read_text()
        assert "http://" not in text.replace("http://www.w3.org", "")
        assert "https://" not in text
