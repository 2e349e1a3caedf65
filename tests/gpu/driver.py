"""The NVIDIA driver of a test: the compiled stub under the real pynvml, told what to say by a scenario file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent / "nvml_stub.c"
GPU_A, GPU_B = "GPU-00000000-0000-4000-8000-00000000000a", "GPU-00000000-0000-4000-8000-00000000000b"
MIG_1, MIG_2, MIG_4 = (f"MIG-00000000-0000-4000-8000-00000000000{n}" for n in (1, 2, 4))


def build(directory: Path) -> Path:
    """Compile the stub to `directory`/libnvidia-ml.so.1; skips where there is no compiler."""
    if shutil.which("gcc") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("gcc is missing and CI=true allows no skip: hack/test-packages installs it")
        pytest.skip("gcc is missing: hack/test-packages installs it")
    library = directory / "libnvidia-ml.so.1"
    command = ["gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True)
    return library


class Driver:
    """A scenario: `set` changes what the GPUs say from the next call on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._says: dict[str, object] = {"gpus": 0}
        self._write()

    def gpu(self, index: int, uuid: str, name: str = "NVIDIA A100-SXM4-40GB", **says: object) -> None:
        """One more GPU."""
        self._says["gpus"] = index + 1
        self.set(index, uuid=uuid, name=name, minor=index, **says)

    def mig(self, gpu: int, index: int, uuid: str, gi: int, parts: int) -> None:
        """One more MIG instance of a GPU, with one compute instance."""
        self.set(
            gpu, **{f"mig{index}.{key}": v for key, v in {"uuid": uuid, "gi": gi, "ci": 0, "parts": parts}.items()}
        )

    def set(self, gpu: int, **says: object) -> None:
        """Change a GPU; None takes a key away."""
        self._change({f"gpu{gpu}.{key}": value for key, value in says.items()})

    def fail(self, function: str, code: int | None, gpu: int | None = None) -> None:
        """A function answers an NVML code from now on, or works again (None)."""
        self._change({f"{'' if gpu is None else f'gpu{gpu}.'}error.{function}": code})

    def _change(self, says: dict[str, object]) -> None:
        self._says = {key: value for key, value in (self._says | says).items() if value is not None}
        self._write()

    def _write(self) -> None:
        beside = self.path.with_suffix(".new")
        beside.write_text("".join(f"{key}={value}\n" for key, value in self._says.items()))
        beside.replace(self.path)
