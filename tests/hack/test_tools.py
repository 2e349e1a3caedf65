"""Programs are taken from where they fit and built only where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster import machine, packages, tools
from localcluster.say import ClusterError


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Kubernetes v1.34.4", (1, 34)),
        ("Client Version: v1.34.4\nKustomize Version: v5.7.1", (1, 34)),
        ("etcd Version: 3.6.4\nGit SHA: x", (3, 6)),
        ("v3.19+unreleased", (3, 19)),
        ("v1.31.0-eks-a737599", (1, 31)),
        ("no number here", None),
    ],
)
def test_a_version_is_read_from_what_a_program_prints(text: str, version: tuple[int, int] | None) -> None:
    assert tools.version_of(text) == version


def test_on_path_only_our_minor_version_fits() -> None:
    assert tools.fits("kubelet", (1, 34), from_assets=False)
    assert not tools.fits("kubelet", (1, 33), from_assets=False)
    assert not tools.fits("kubelet", None, from_assets=False)


def test_kubebuilder_assets_may_be_any_supported_version() -> None:
    assert tools.fits("kube-apiserver", (1, 30), from_assets=True)
    assert not tools.fits("kube-apiserver", (1, 29), from_assets=True)


def program(directory: Path, name: str, says: str) -> Path:
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_kubebuilder_assets_come_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asset = program(tmp_path / "assets", "kubectl", "Client Version: v1.31.2")
    program(tmp_path / "path", "kubectl", "Client Version: v1.34.0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(asset.parent))
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    assert tools.found_elsewhere("kubectl") == asset


def test_an_unfitting_program_on_path_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "path", "kubelet", "Kubernetes v1.28.9")
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    assert tools.found_elsewhere("kubelet") is None


def test_a_changed_version_changes_the_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "go.mod").write_text("require k8s.io/kubernetes v1.34.4")
    (tmp_path / "go.sum").write_text("")
    monkeypatch.setattr(tools, "MODULE", tmp_path)
    before = tools.stamp_of("kubelet")
    assert tools.stamp_of("kubelet") == before
    (tmp_path / "go.mod").write_text("require k8s.io/kubernetes v1.34.5")
    assert tools.stamp_of("kubelet") != before


def test_the_cache_directory_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tools.bin_dir() == tmp_path / "carbonbudget" / "tools" / "bin"


def test_without_root_the_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages.os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="apt-get install --no-install-recommends frobnicator"):
        packages.ensure({"/no/such/file": "frobnicator", "sh": "dash"})


@pytest.mark.parametrize(("capabilities", "may"), [("000001ffffffffff", True), ("000001fffeffffff", False)])
def test_sandboxes_are_protected_from_the_oom_killer_only_where_root_may(capabilities: str, may: bool) -> None:
    assert machine.may_lower_oom_score(f"Name:\tx\nCapEff:\t{capabilities}\n") is may


def test_helm_renders_for_the_kubernetes_that_is_built_beside_it() -> None:
    """It is told by the linker: without a flag `helm template` takes 1.20, and the chart refuses that."""
    _, minor = tools.version_of(tools.KUBERNETES_VERSION) or (0, 0)
    for package in ("pkg/chartutil", "pkg/lint/rules"):
        assert f"-X helm.sh/helm/v3/{package}.k8sVersionMinor={minor}" in tools._flags_for("helm")
        assert package not in tools._flags_for("kubectl")
