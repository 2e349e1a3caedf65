"""How many logical CPUs are online now. A virtual machine can get more of them, or fewer, without a restart."""

from __future__ import annotations

from pathlib import Path

_MOST_CPUS = 8_192  # NR_CPUS of x86: a longer list is not a kernel's


def online_cpus(sysfs: Path) -> int | None:
    """The count of /sys/devices/system/cpu/online (`0-3,8`); None where that cannot be read or is no such list.

    /proc/cpuinfo has the same CPUs, but the kernel asks each of them for its frequency when it is read.
    """
    try:
        with open(sysfs / "devices" / "system" / "cpu" / "online", encoding="ascii") as file:
            ranges = file.read(65_536).strip().split(",")
        count = sum(map(_length, ranges))
    except (OSError, ValueError):
        return None
    return count if 0 < count <= _MOST_CPUS else None


def _length(text: str) -> int:
    first, _, last = text.partition("-")
    return int(last or first) - int(first) + 1
