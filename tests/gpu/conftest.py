"""The stub, loaded once into this process, and the kubelet's pod-resources socket."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pynvml
import pytest
from tests.gpu.driver import Driver, build


@pytest.fixture(scope="session")
def _stub(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return ctypes.CDLL(str(build(tmp_path_factory.mktemp("nvml"))))


@pytest.fixture
def driver(_stub: ctypes.CDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A driver without GPUs. pynvml finds the stub as if it were loaded from the system."""
    monkeypatch.setattr(pynvml, "nvmlLib", _stub)
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    made = Driver(tmp_path / "scenario")
    # The C library's own environment: os.environ reaches it by putenv.
    monkeypatch.setitem(os.environ, "NVML_SCENARIO", str(made.path))
    return made
