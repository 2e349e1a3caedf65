"""An API server for these tests alone; policies and webhook of one run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.apiserver.chart_policies import ChartPolicies, apply_crds, chart_away
from tests.apiserver.manifests import work
from tests.apiserver.tracking_injectors import injectors, tracked_specs, tracking, tracking_ca
from tests.conftest import Cluster
from tests.control_plane import control_plane

# Fixtures, for all tests of tracked pods.
__all__ = ["injectors", "tracked_specs", "tracking", "tracking_ca"]


@pytest.fixture(scope="session")
def cluster(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane without nodes, with the CRDs."""
    with control_plane(cluster, tmp_path_factory.mktemp("control-plane")) as made:
        apply_crds(made)
        yield made


@pytest.fixture(scope="module")  # "package" would last for the session: there is no __init__.py
def policies(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChartPolicies]:
    """The policies, in force for one module's namespaces; gone after it, and the controller is back."""
    directory: Path = tmp_path_factory.mktemp("policies")
    made = ChartPolicies(cluster, directory)
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
def space(policies: ChartPolicies) -> Iterator[str]:
    """A checked namespace of this test's own."""
    with policies.namespace() as name:
        yield name
