"""How frameworks find the client's modules, and that none of these imports its framework before it is used."""

from __future__ import annotations

import subprocess
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("nothing_recorded")


def test_the_frameworks_find_us_by_entry_points() -> None:
    for group in (
        "mlflow.run_context_provider",
        "lightning.pytorch.callbacks_factory",
        "pytorch_lightning.callbacks_factory",
    ):
        found = metadata.entry_points(group=group, name="carbonbudget")
        assert all(callable(each.load()) for each in found), group
        assert found, group


def test_no_module_imports_its_framework_when_it_is_imported(trackers_python: Path) -> None:
    ours = ("mlflow", "wandb", "comet", "keras", "huggingface", "lightning", "bridge.bridge_command")
    theirs = ("mlflow", "wandb", "comet_ml", "keras", "transformers", "jax", "numpy", "urllib3")
    code = (
        f"import sys, importlib\nfor name in {ours!r}: importlib.import_module('carbonbudget.' + name)\n"
        f"print([name for name in {theirs!r} if name in sys.modules])"
    )
    done = subprocess.run([trackers_python, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
