"""RAPL through the kernel's powercap tree: package and dram of each socket.

core and uncore lie inside package, psys covers all of them, and intel-rapl-mmio mirrors the package:
none of these is ever added. psys is a check: package and dram are parts of it, so that a sum above it is a
doubt about one of them. Zones are told apart by their `name` file, never by their index. Each domain is a
unit: a dram zone that cannot be read, or wraps sooner, takes no package with it.
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
_PSYS = "psys"
_TOLERANCE_PERMILLE = 1010  # the zones are read some microseconds apart, and refreshed each millisecond


@dataclass(frozen=True, slots=True)
class _Zone:
    domain: str
    path: Path
    range_uj: int


class RaplMeter:
    """Units `rapl:cpu` and `rapl:dram`: cumulative microjoules of each zone, keyed `<domain>/<socket's name>`.

    With `rapl:cpu` go the zones that psys is held against, where all of them could be read.
    """

    name = "rapl"

    def __init__(self, zones: dict[str, _Zone]) -> None:
        self._zones = zones

    def read(self, busy_us: int) -> Reading:
        """All zones' counters; an unreadable one fails its domain, because a part would undercount."""
        values: dict[str, int] = {}
        failed: dict[str, str] = {}
        for key, zone in self._zones.items():
            try:
                values[key] = _number(zone.path / "energy_uj")
            except MeterError as error:
                failed[_unit(zone.domain)] = str(error)
        counters: dict[str, dict[str, int]] = {}
        for key, value in values.items():
            unit = _unit(self._zones[key].domain)
            if unit not in failed and self._zones[key].domain != _PSYS:
                counters.setdefault(unit, {})[key] = value
        failed.pop(_unit(_PSYS), None)  # a check that cannot be made is no failure
        if "rapl:cpu" in counters and len(values) == len(self._zones):
            counters["rapl:cpu"] = values
        return Reading(counters, failed)

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        """Packages as `cpu` or drams as `dram`, summed over sockets; a wrap adds the counter's range."""
        domain = unit.removeprefix("rapl:")
        total_uj = self._sum(domain, before, after, elapsed_ms)
        doubt = self._doubt(before, after, elapsed_ms) if domain == "cpu" else ""
        return (DomainEnergy(domain, self.name, "package", elapsed_ms, total_uj, doubt=doubt),)

    def _sum(self, domain: str, before: Counters, after: Counters, elapsed_ms: int) -> int:
        total_uj = 0
        for key, zone in self._zones.items():
            if zone.domain != domain:
                continue
            if key not in before or key not in after:
                raise MeterError(f"zone {key} was not there at both readings")
            if elapsed_ms * _MAX_SOCKET_WATTS * 1000 > zone.range_uj:
                raise MeterError(f"zone {key} may have wrapped unseen in {elapsed_ms // 1000} s")
            delta_uj = after[key] - before[key]
            if delta_uj < 0:
                delta_uj += zone.range_uj
            if delta_uj < 0:
                raise MeterError(f"zone {key} went back by more than its range")
            total_uj += delta_uj
        return total_uj

    def _doubt(self, before: Counters, after: Counters, elapsed_ms: int) -> str:
        """The sentence if package and dram drew more than psys, in which they lie; empty if not or not known."""
        domains = {zone.domain for zone in self._zones.values()}
        try:
            psys_uj = self._sum(_PSYS, before, after, elapsed_ms) if _PSYS in domains else 0
            parts_uj = sum(self._sum(domain, before, after, elapsed_ms) for domain in domains - {_PSYS})
        except MeterError:
            return ""
        if not psys_uj or parts_uj <= psys_uj * _TOLERANCE_PERMILLE // 1000:
            return ""
        return (
            f"package and dram drew {parts_uj // elapsed_ms} mW, more than the {psys_uj // elapsed_ms} mW of psys, "
            "which holds them: one of these counters is wrong"
        )


def _unit(domain: str) -> str:
    return f"rapl:{domain}"


def detect_rapl(sysfs: Path) -> Detection:
    """Look for readable package zones below the sysfs root."""
    roots = (sysfs / "class" / "powercap", sysfs / "devices" / "virtual" / "powercap" / "intel-rapl")
    root = next((path for path in roots if path.is_dir()), None)
    if root is None:
        return Detection("rapl", None, f"{roots[0]} is not there: no RAPL (usual in a virtual machine)")
    zones: dict[str, _Zone] = {}
    try:
        for zone in sorted(root.glob("intel-rapl:*")):
            name = (zone / "name").read_text(encoding="ascii").strip()
            if name == _PSYS:
                zones[f"{_PSYS}/{zone.name}"] = _zone(_PSYS, zone)
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
    kinds = tuple(sorted({zone.domain for zone in zones.values()} - {_PSYS}))
    if "cpu" not in kinds:
        return Detection("rapl", None, f"{root} has no package zone")
    measured = [key for key, zone in zones.items() if zone.domain != _PSYS]
    check = "; psys covers these, is never added and serves as a check" if len(measured) < len(zones) else ""
    return Detection("rapl", RaplMeter(zones), f"{len(measured)} zones: {', '.join(measured)}{check}", kinds)


def _zone(domain: str, path: Path) -> _Zone:
    range_uj = _number(path / "max_energy_range_uj")
    if not range_uj:
        raise MeterError(f"{path}/max_energy_range_uj: a counter without a range")
    return _Zone(domain, path, range_uj)


def _number(path: Path) -> int:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise MeterError(f"{path}: {error.strerror}") from None
    except ValueError:
        text = ""
    if not text.isdecimal() or len(text) > 20:  # what 64 bits hold
        raise MeterError(f"{path}: not a number")
    return int(text)
