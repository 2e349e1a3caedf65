"""Calibration: what the model's power is multiplied by on machines that were measured with a wattmeter.

Written `m6a.large=0.93,AMD EPYC Milan (Zen 3)=1.05,*=1`: by instance type, else by microarchitecture, else for
every machine. In thousandths, because energy is integers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_FACTOR = re.compile(r"(\d{1,2})(?:\.(\d{1,3}))?")
_LEAST, _MOST = 100, 10_000  # beyond a tenth and tenfold it is a mistake
Calibration = Mapping[str, int]  # thousandths by machine


def parse_calibration(text: str) -> Calibration:
    """The factors by machine. ValueError, with a sentence, for an invalid entry."""
    found: dict[str, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        machine, _, factor = part.rpartition("=")
        match = _FACTOR.fullmatch(factor.strip())
        permille = int(match[1]) * 1000 + int((match[2] or "0").ljust(3, "0")) if match else 0
        if not machine.strip() or "=" in machine or not _LEAST <= permille <= _MOST:
            raise ValueError(f"{part!r} is not MACHINE=FACTOR with a factor from 0.1 to 10 (three decimals)")
        found[machine.strip()] = permille
    return found


def factor_permille(calibration: Calibration, instance_type: str, microarchitecture: str) -> tuple[int, str]:
    """The factor in thousandths and the entry that it is from; 1000 and an empty text without an entry."""
    for machine in (instance_type, microarchitecture, "*"):
        if machine in calibration:
            return calibration[machine], machine
    return 1000, ""
