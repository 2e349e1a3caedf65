"""RAPL through the kernel's powercap tree: package and dram of each socket.

core and uncore lie inside package, psys covers all of them, and intel-rapl-mmio mirrors the package:
none of these is ever added. psys is a check: package and dram are parts of it, so that a sum above it is a
doubt about one of them. Zones are identified by their `name` file, never by their index. Each domain is a
unit: a dram zone that cannot be read, or wraps sooner, takes no package with it.
Source: the kernel's Documentation/power/powercap/powercap.rst and drivers/powercap/intel_rapl_common.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from carbonbudget_agent.meters import Counters, Detection, DomainEnergy, MeterError, MeterReading
from carbonbudget_agent.meters.counter_delta import MARGIN, counted_uj
from carbonbudget_agent.meters.rapl_mirrors import Mirrors

_PACKAGE = re.compile(r"(package-\d+)(-die-\d+)?")
# The most that a socket, or the memory of one, can draw where the firmware states no limit. Data sheets: 500 W for
# EPYC 9965 and Xeon 6980P, 760 W peak for Instinct MI300A, the largest socket that counts itself by RAPL.
_MOST_WATTS = 1_000
# Firmware that states less than this for a socket has not filled in its limits: data sheets begin at 15 W.
_LEAST_STATED_WATTS = 10
_MOST_PLATFORM_WATTS = 20_000
_PSYS = "psys"
_TOLERANCE_PERMILLE = 1010  # the zones are read some microseconds apart, and refreshed each millisecond


@dataclass(frozen=True, slots=True)
class _Zone:
    """One counter's name. `package` is its socket, as its name says."""

    domain: str
    path: Path
    range_uj: int
    most_watts: int
    package: str = ""


class RaplMeter:
    """Units `rapl:cpu` and `rapl:dram`: cumulative microjoules of each zone, keyed `<domain>/<socket's name>`.

    With `rapl:cpu` go the zones that psys is compared with, where all of them could be read. `released/<domain>` is
    energy that a zone drew while it was in doubt whether it is another name of a counter (rapl_mirrors.py).
    """

    name = "rapl"

    def __init__(self, zones: dict[str, _Zone]) -> None:
        self._zones, self._mirrors = zones, Mirrors()
        ranges = {key: zone.range_uj for key, zone in zones.items()}
        measured = sorted((zone.domain, zone.package, key) for key, zone in zones.items() if zone.domain != _PSYS)
        for _, group in groupby(measured, key=lambda entry: entry[:2]):
            self._mirrors.suspect([key for _, _, key in group], ranges)

    def read(self, busy_us: int) -> MeterReading:
        """All zones' counters; an unreadable one fails its domain, because a part would undercount."""
        values: dict[str, int] = {}
        failed: dict[str, str] = {}
        for key, zone in self._zones.items():
            try:
                values[key] = _number(zone.path / "energy_uj")
            except MeterError as error:
                failed[_unit(zone.domain)] = str(error)
        self._mirrors.look(values, self._again())
        counters: dict[str, dict[str, int]] = {}
        for key, value in values.items():
            unit = _unit(self._zones[key].domain)
            if unit not in failed and self._zones[key].domain != _PSYS:
                counters.setdefault(unit, {})[key] = value
        failed.pop(_unit(_PSYS), None)  # a check that cannot be made is no failure
        if "rapl:cpu" in counters and len(values) == len(self._zones):
            counters["rapl:cpu"] = values
        for domain, released_uj in self._mirrors.released_uj.items():
            if _unit(domain) in counters:
                counters[_unit(domain)][f"released/{domain}"] = released_uj
        return MeterReading(counters, failed)

    def _again(self) -> dict[str, int]:
        """A second reading of the zones that may be names of one counter; without those that cannot be read."""
        values: dict[str, int] = {}
        for key in self._mirrors.suspects:
            try:
                values[key] = _number(self._zones[key].path / "energy_uj")
            except MeterError:
                continue  # the first reading reports a lasting failure
        return values

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        """Packages as `cpu` or drams as `dram`, summed over sockets; a wrap adds the counter's range."""
        domain = unit.removeprefix("rapl:")
        total_uj = self._sum(domain, before, after, elapsed_ms)
        doubt = self._doubt(before, after, elapsed_ms) if domain == "cpu" else ""
        return (DomainEnergy(domain, self.name, "package", elapsed_ms, total_uj, doubt=doubt),)

    def _sum(self, domain: str, before: Counters, after: Counters, elapsed_ms: int) -> int:
        released = f"released/{domain}"
        total_uj = max(0, after.get(released, 0) - before.get(released, 0))  # it starts from 0 with each agent
        for key, zone in self._zones.items():
            if zone.domain != domain or not self._mirrors.counts(key):
                continue
            if key not in before or key not in after:
                raise MeterError(f"zone {key} was not there at both readings")
            total_uj += counted_uj(f"zone {key}", before[key], after[key], elapsed_ms, zone.most_watts, zone.range_uj)
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
    """Search for readable package zones below the sysfs root."""
    roots = (sysfs / "class" / "powercap", sysfs / "devices" / "virtual" / "powercap" / "intel-rapl")
    root = next((path for path in roots if path.is_dir()), None)
    if root is None:
        return Detection("rapl", None, f"{roots[0]} is not there: no RAPL (usual in a virtual machine)")
    zones: dict[str, _Zone] = {}
    try:
        for zone in sorted(root.glob("intel-rapl:*")):
            name = (zone / "name").read_text(encoding="ascii").strip()
            if name == _PSYS:
                zones[f"{_PSYS}/{zone.name}"] = _zone(_PSYS, zone, "", _MOST_PLATFORM_WATTS)
            package = _PACKAGE.fullmatch(name)
            if package is None:
                continue
            if f"cpu/{name}" in zones:  # two zones of one name: rapl_mirrors.py finds out whether both count
                name = f"{name}@{zone.name}"
            zones[f"cpu/{name}"] = _zone("cpu", zone, package[1], _stated_watts(zone))
            for child in sorted(zone.glob("intel-rapl:*")):
                if (child / "name").read_text(encoding="ascii").strip() == "dram":
                    zones[f"dram/{name}"] = _zone("dram", child, package[1], _MOST_WATTS)
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


def _zone(domain: str, path: Path, package: str, most_watts: int) -> _Zone:
    range_uj = _number(path / "max_energy_range_uj")
    if not range_uj:
        raise MeterError(f"{path}/max_energy_range_uj: a counter without a range")
    return _Zone(domain, path, range_uj, most_watts, package)


def _stated_watts(zone: Path) -> int:
    """The most that this package can draw: twice what its firmware states (TDP and limits), else `_MOST_WATTS`.

    A limit that somebody lifted reads as thousands of watts. Memory zones are not asked: their stated power is often
    that of another configuration.
    """
    stated_watts = 0
    for path in zone.glob("constraint_*_uw"):
        if path.name.endswith(("_max_power_uw", "_power_limit_uw")):
            try:
                stated_watts = max(stated_watts, _number(path) // 1_000_000)
            except MeterError:
                continue  # not every constraint can be read on every CPU
    return min(_MOST_WATTS, MARGIN * stated_watts) if stated_watts >= _LEAST_STATED_WATTS else _MOST_WATTS


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
