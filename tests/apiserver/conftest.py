"""An API server for these tests alone; policies and webhook of one run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.apiserver.judging import Judging, apply_crds, chart_away
from tests.apiserver.manifests import work
from tests.conftest import Cluster
from tests.control_plane import control_plane


@pytest.fixture(scope="session")
def cluster(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane without nodes, with the CRDs."""
    with control_plane(cluster, tmp_path_factory.mktemp("control-plane")) as made:
        apply_crds(made)
        yield made


@pytest.fixture(scope="module")  # "package" would last for the session: there is no __init__.py
def judging(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    """The policies, in force for one module's namespaces; gone after it, and the controller is back."""
    directory: Path = tmp_path_factory.mktemp("judging")
    made = Judging(cluster, directory)
    with chart_away(cluster):
        try:
            made.install()
            with made.namespace() as probe:
                made.block(probe, "probe")
                made.refusal(work("Pod", probe))
            yield made
        finally:
            made.remove()


@pytest.fixture
def space(judging: Judging) -> Iterator[str]:
    """A judged namespace of this test's own."""
    with judging.namespace() as name:
        yield name
