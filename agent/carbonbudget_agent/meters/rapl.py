"""RAPL through the kernel's powercap tree: package and dram of each socket.

core and uncore lie inside package, psys covers all of them, and intel-rapl-mmio mirrors the package:
none of these is ever added. Zones are told apart by their `name` file, never by their index.
Source: the kernel's Documentation/power/powercap/powercap.rst and drivers/powercap/intel_rapl_common.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from carbonbudget_agent.meters import Counters, Detection, DomainEnergy, MeterError, Reading

_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")
# No socket draws more than this for long (data sheets: 500 W for the largest of 2025); it bounds how
# soon a 32-bit counter can wrap twice unseen.
_MAX_SOCKET_WATTS = 600


@dataclass(frozen=True, slots=True)
class _Zone:
    domain: str
    path: Path
    range_uj: int


class RaplMeter:
    """Cumulative microjoules of each zone, keyed `<domain>/<socket's name>`."""

    name = "rapl"

    def __init__(self, zones: dict[str, _Zone]) -> None:
        self._zones = zones

    def read(self, busy_us: int) -> Reading:
        """All zones' counters; an unreadable one fails them all, because a part would undercount."""
        try:
            return Reading({self.name: {key: _number(zone.path / "energy_uj") for key, zone in self._zones.items()}})
        except MeterError as error:
            return Reading({}, {self.name: str(error)})

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        """Package as `cpu` and dram as `dram`, summed over sockets; a wrap adds the counter's range."""
        totals: dict[str, int] = {}
        for key, zone in self._zones.items():
            if key not in before or key not in after:
                raise MeterError(f"zone {key} was not there at both readings")
            if elapsed_ms * _MAX_SOCKET_WATTS * 1000 > zone.range_uj:
                raise MeterError(f"zone {key} may have wrapped unseen in {elapsed_ms // 1000} s")
            delta = after[key] - before[key]
            if delta < 0:
                delta += zone.range_uj
            if delta < 0:
                raise MeterError(f"zone {key} went back by more than its range")
            totals[zone.domain] = totals.get(zone.domain, 0) + delta
        return tuple(DomainEnergy(name, "rapl", "package", elapsed_ms, total) for name, total in totals.items())


def detect_rapl(sysfs: Path) -> Detection:
    """Look for readable package zones below the sysfs root; psys is named, as a check for people only."""
    roots = (sysfs / "class" / "powercap", sysfs / "devices" / "virtual" / "powercap" / "intel-rapl")
    root = next((path for path in roots if path.is_dir()), None)
    if root is None:
        return Detection("rapl", None, f"{roots[0]} is not there: no RAPL (usual in a virtual machine)")
    zones: dict[str, _Zone] = {}
    psys = ""
    try:
        for zone in sorted(root.glob("intel-rapl:*")):
            name = (zone / "name").read_text(encoding="ascii").strip()
            if name == "psys":
                psys = "; psys covers these and is never added"
            if not _PACKAGE.fullmatch(name):
                continue
            zones[f"cpu/{name}"] = _zone("cpu", zone)
            for child in sorted(zone.glob("intel-rapl:*")):
                if (child / "name").read_text(encoding="ascii").strip() == "dram":
                    zones[f"dram/{name}"] = _zone("dram", child)
        for path in zones.values():
            _number(path.path / "energy_uj")
    except (OSError, MeterError, ValueError) as error:
        return Detection("rapl", None, f"found in {root} but not readable: {error}")
    if not zones:
        return Detection("rapl", None, f"{root} has no package zone")
    kinds = tuple(sorted({zone.domain for zone in zones.values()}))
    return Detection("rapl", RaplMeter(zones), f"{len(zones)} zones: {', '.join(zones)}{psys}", kinds)


def _zone(domain: str, path: Path) -> _Zone:
    return _Zone(domain, path, _number(path / "max_energy_range_uj"))


def _number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except OSError as error:
        raise MeterError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise MeterError(f"{path}: not a number") from None
