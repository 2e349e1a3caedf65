"""The model for machines without counters: power as a curve over CPU use, per hardware thread.

    P(u) = idle + (max - idle) * (u + c * u * (1 - u))

with idle, max and c of the microarchitecture (cpu_power.csv), and idle and max of the CPU's own model where its name
shows it (cpu_sku.py). The figures are those of whole servers at the wall, so memory is in them: boundary `wall`, one
domain `cpu`. Over 266 servers of 2023 and later, each predicted from the others, the mean error at mid load is 11.7 %,
and 14.3 % by microarchitecture alone (benchmarks/power_model.py). It is always an estimate and carries its range: the
largest of the leave-one-out errors at idle, mid and full load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from carbonbudget_agent.meters import Counters, Detection, DomainEnergy, MeterError, MeterReading
from carbonbudget_agent.meters.calibration import Calibration, factor_permille
from carbonbudget_agent.meters.cpu_sku import find_sku, towards_family
from carbonbudget_agent.meters.instance_types import find_by_instance_type
from carbonbudget_agent.meters.microarchitecture import find_microarchitecture, first_processor
from carbonbudget_core.bundled_tables import cpu_power_rows

_DEFAULT = "default"
_PPM = 1_000_000


@dataclass(frozen=True, slots=True)
class PowerCurve:
    """One family's figures: milliwatts per hardware thread, curvature and error in thousandths."""

    microarchitecture: str
    idle_mw_per_thread: int
    max_mw_per_thread: int
    curve_permille: int
    error_permille: int


class ModelMeter:
    """Energy from the node's busy CPU time. Its counters: `busy_us` and, where that is known, the present `threads`."""

    name = "model"

    def __init__(self, curve: PowerCurve, threads: int, online: Callable[[], int | None] = lambda: None) -> None:
        """`threads` are those of the start; `online` returns those of now, which a virtual machine can change."""
        if threads < 1:
            raise ValueError("a node has at least one hardware thread")
        self.curve = curve
        self.threads = threads
        self._online = online

    def read(self, busy_us: int) -> MeterReading:
        """The node's busy time, which it is given, and the number of CPUs that can be busy."""
        threads = self._online()
        return MeterReading({self.name: {"busy_us": busy_us} | ({} if threads is None else {"threads": threads})})

    def energy(self, unit: str, before: Counters, after: Counters, elapsed_ms: int) -> tuple[DomainEnergy, ...]:
        """The modelled energy of the domain `cpu`, idle and range included. The CPUs count as they are at the end."""
        busy_us = after["busy_us"] - before["busy_us"]
        if busy_us < 0:
            raise MeterError("the node's busy time went back")
        if elapsed_ms <= 0:
            return (DomainEnergy("cpu", "model", "wall", 0, 0, 0, 0, 0),)
        curve, threads = self.curve, after.get("threads", self.threads)
        use_ppm = min(_PPM, busy_us * 1000 // (elapsed_ms * threads))  # us / ms is thousandths
        shape_ppm = use_ppm + curve.curve_permille * use_ppm * (_PPM - use_ppm) // (1000 * _PPM)
        span_mw = max(0, curve.max_mw_per_thread - curve.idle_mw_per_thread)
        idle_uj = curve.idle_mw_per_thread * threads * elapsed_ms  # mW x ms = uJ
        total_uj = idle_uj + span_mw * threads * elapsed_ms * shape_ppm // _PPM
        low_uj = total_uj * max(0, 1000 - curve.error_permille) // 1000  # of two results, one may be twice the other
        high_uj = total_uj * (1000 + curve.error_permille) // 1000
        return (DomainEnergy("cpu", "model", "wall", elapsed_ms, total_uj, idle_uj, low_uj, high_uj),)


def detect_model(
    procfs: Path,
    instance_type: str = "",
    calibration: Calibration | None = None,
    online: Callable[[], int | None] = lambda: None,
) -> Detection:
    """The model, available wherever /proc/cpuinfo is. Its reason is the chosen microarchitecture and why.

    By the CPU's own name or its numbers, else by the cloud's type of the machine, else the stated default.
    """
    try:
        cpuinfo = (procfs / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return Detection("model", None, f"{procfs}/cpuinfo cannot be read: {error.strerror}")
    threads = max(1, sum(line.startswith("processor") for line in cpuinfo.splitlines()))
    curve, source = _curve(first_processor(cpuinfo), instance_type)
    permille, machine = factor_permille(calibration or {}, instance_type, curve.microarchitecture)
    curve = replace(
        curve,
        idle_mw_per_thread=curve.idle_mw_per_thread * permille // 1000,
        max_mw_per_thread=curve.max_mw_per_thread * permille // 1000,
    )
    reason = (
        f"{curve.microarchitecture} ({source}), {threads} threads, idle {curve.idle_mw_per_thread} mW and "
        f"full {curve.max_mw_per_thread} mW each, range +/- {curve.error_permille / 10:.0f} %"
    )
    reason += f", calibrated by {permille / 1000:g} ({machine})" if machine else ""
    return Detection("model", ModelMeter(curve, threads, online), reason, ("cpu",))


def _curve(fields: dict[str, str], instance_type: str) -> tuple[PowerCurve, str]:
    """The figures that fit best, and how they were found."""
    curves, by_numbers, sku = load_curves(), find_microarchitecture(fields), find_sku(fields.get("model name", ""))
    if sku is not None and by_numbers in (sku.microarchitecture, None):  # the name must agree with the CPU's numbers
        family = curves[sku.microarchitecture]
        curve = replace(
            family,
            idle_mw_per_thread=towards_family(sku.idle_mw_per_thread, family.idle_mw_per_thread, sku.results),
            max_mw_per_thread=towards_family(sku.max_mw_per_thread, family.max_mw_per_thread, sku.results),
            error_permille=sku.error_permille,
        )
        return curve, f"{sku.name} by its name, published results: {sku.results}"
    if by_numbers in curves:
        return curves[by_numbers], "by CPU family and model"
    by_type = find_by_instance_type(instance_type)
    if by_type in curves:
        return curves[by_type], f"by instance type {instance_type}"
    return curves[_DEFAULT], "no known CPU family and model: stated default"


def load_curves() -> dict[str, PowerCurve]:
    """The bundled table by microarchitecture."""
    return {
        row["microarchitecture"]: PowerCurve(
            row["microarchitecture"],
            int(row["idle_mw_per_thread"]),
            int(row["max_mw_per_thread"]),
            int(row["curve_permille"]),
            int(row["error_permille"]),
        )
        for row in cpu_power_rows()
    }
