"""The chart's paths of a node: none leaves its directory by `..`, and cgroups are those below /sys/fs/cgroup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import pytest
from tests.conftest import ROOT

SCHEMA: Final = json.loads((ROOT / "charts" / "carbonbudget" / "values.schema.json").read_text(encoding="utf-8"))
CGROUPS: Final = str(SCHEMA["properties"]["agent"]["properties"]["cgroupMounts"]["items"]["pattern"])


def patterns(schema: dict[str, Any], name: str = "") -> Iterator[tuple[str, str]]:
    """Each pattern of an absolute path, with the value's name."""
    for key, one in schema.get("properties", {}).items():
        yield from patterns(one, key)
    if "items" in schema:
        yield from patterns(schema["items"], name)
    if re.match(r"\^\(*/", schema.get("pattern", "")):
        yield name, schema["pattern"]


PATHS: Final = dict(patterns(SCHEMA))


def test_every_value_that_is_a_path_of_the_node_is_among_them() -> None:
    paths = {"cgroupMounts", "outboxHostPath", "podResourcesHostPath", "driverHostPath", "hostPath"}
    assert PATHS.keys() >= paths


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("rest", ["/..", "/../etc", "/a/../../etc", "/.", "/./a", "//a", "/a b", "/a\n/..", "/../"])
def test_a_path_with_steps_back_is_refused(name: str, rest: str) -> None:
    assert not re.search(PATHS[name], f"/sys/fs/cgroup{rest}")


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("rest", ["", "/", "/memory", "/cpu,cpuacct", "/a.slice/b", "/..a", "/.hidden", "/a..b/c"])
def test_a_path_that_only_has_dots_in_its_names_is_taken(name: str, rest: str) -> None:
    assert re.search(PATHS[name], f"/sys/fs/cgroup{rest}")


@pytest.mark.parametrize("path", ["/sys/fs/cgroups", "/sys/fs/cgroup-other/a", "/sys/fs", "/", "", "/x/sys/fs/cgroup"])
def test_a_mount_of_cgroups_is_below_their_directory(path: str) -> None:
    assert not re.search(CGROUPS, path)
