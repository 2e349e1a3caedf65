"""The meter of the kernel's hwmon class: sensors of cumulative energy, or of power, which is integrated.

Only drivers whose sensors are known to cover the CPU are read, identified by the `name` file and the sensor's
label, never by an index. A power sensor has no counter: between two readings the power is assumed to be linear, and
a gap longer than the slowest sampling has no figure. Sources: the kernel's Documentation/hwmon/amd_energy.rst,
acpi_power_meter.rst, xgene-hwmon and the Grace power sensors of NVIDIA's Grace Performance Tuning Guide.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from carbonbudget_agent.meters import Counters, Detection, DomainEnergy, ImplausibleError, MeterError, MeterReading
from carbonbudget_agent.meters.counter_delta import counted_uj

# The most that one sensor's part can draw: data sheets give 500 W for the largest CPU sockets of 2025 and for Grace.
_MOST_WATTS = 1_000
MAX_GAP_MS = 60_000  # two readings further apart than this do not show the power between them


@dataclass(frozen=True, slots=True)
class _Known:
    """A driver's sensors that count for the CPU: files `<prefix>N<suffix>` whose label matches."""

    prefix: str
    suffix: str
    label_suffix: str
    label: re.Pattern[str]
    boundary: str


# Grace's sensor holds the CPU, its memory and its regulators; `Module` would hold the GPU too.
_DRIVERS = {
    "amd_energy": _Known("energy", "_input", "_label", re.compile(r"Esocket\d+"), "package"),
    "apm_xgene": _Known("power", "_input", "_label", re.compile(r"(CPU|IO) power"), "package"),
    "power_meter": _Known("power", "_average", "_oem_info", re.compile(r"Grace Power Socket \d+"), "board"),
}


@dataclass(frozen=True, slots=True)
class _Sensor:
    path: Path
    is_power: bool


class HwmonMeter:
    """The CPU from hwmon: keys `<hwmon>/<file>` in microjoules or, for a power sensor, microwatts."""

    name = "hwmon"

    def __init__(self, sensors: dict[str, _Sensor], boundary: str) -> None:
        self._sensors, self._boundary = sensors, boundary

    def read(self, busy_us: int) -> MeterReading:
        """All sensors; an unreadable one fails them all, because a part would undercount."""
        try:
            return MeterReading({self.name: {key: _number(sensor.path) for key, sensor in self._sensors.items()}})
        except MeterError as error:
            return MeterReading({}, {self.name: str(error)})

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        """The sum over sockets."""
        total_uj = 0
        for key, sensor in self._sensors.items():
            if key not in before or key not in after:
                raise MeterError(f"sensor {key} was not there at both readings")
            if sensor.is_power:
                total_uj += integrate_uw(before[key], after[key], elapsed_ms, _MOST_WATTS)
            else:  # the driver adds its registers up in 64 bits
                total_uj += counted_uj(f"sensor {key}", before[key], after[key], elapsed_ms, _MOST_WATTS)
        return (DomainEnergy("cpu", self.name, self._boundary, elapsed_ms, total_uj),)


def integrate_uw(before_uw: int, after_uw: int, elapsed_ms: int, most_watts: int) -> int:
    """Microjoules between two readings of a power in microwatts (trapezium).

    MeterError for too long a gap, ImplausibleError for more than `most_watts`.
    """
    if elapsed_ms > MAX_GAP_MS:
        raise MeterError(f"power was not looked at for {elapsed_ms // 1000} s")
    highest_watts = max(before_uw, after_uw) // 1_000_000
    if highest_watts > most_watts:
        raise ImplausibleError(f"its sensor says {highest_watts} W, and it can draw {most_watts} W")
    return (before_uw + after_uw) * elapsed_ms // 2000


def detect_hwmon(sysfs: Path) -> Detection:
    """Search for a driver that is known to measure the CPU."""
    root = sysfs / "class" / "hwmon"
    sensors: dict[str, _Sensor] = {}
    boundary, seen = "", set[str]()
    for device in sorted(root.glob("hwmon*")):
        driver = _text(device / "name")
        known = _DRIVERS.get(driver)
        seen.add(driver)
        if known is None:
            continue
        for path in sorted(device.glob(f"{known.prefix}*{known.suffix}")):
            label = _text(path.with_name(path.name.removesuffix(known.suffix) + known.label_suffix))
            if known.label.fullmatch(label):
                sensors[f"{device.name}/{path.name}"] = _Sensor(path, known.prefix == "power")
                boundary = known.boundary
    if not sensors:
        others = f" (seen: {', '.join(sorted(filter(None, seen)))})" if any(seen) else ""
        return Detection("hwmon", None, f"{root} has no sensor known to measure the CPU{others}")
    try:
        for sensor in sensors.values():
            _number(sensor.path)
    except MeterError as error:
        return Detection("hwmon", None, f"found but not readable: {error}")
    return Detection("hwmon", HwmonMeter(sensors, boundary), f"{len(sensors)} sensors: {', '.join(sensors)}", ("cpu",))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _number(path: Path) -> int:
    try:
        value = int(path.read_text(encoding="ascii"))
    except OSError as error:
        raise MeterError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise MeterError(f"{path}: not a number") from None
    if value < 0:
        raise MeterError(f"{path}: {value} is negative")
    return value
