"""The line that `epochs` shows once: what all epochs will have needed, by the server or by the epochs so far."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from carbonbudget.span_results import Result

_SMALL, _NOTHING = 0.005, 0.00005


def _amount(value: float, small: str, large: str) -> str:
    """Two significant digits, in thousands of the unit from 1000 on."""
    unit = small
    if value >= 1000:
        value, unit = value / 1000, large
    return f"{_digits(value)} {unit}"


def _digits(value: float) -> str:
    if value < _SMALL:
        return f"{value:.4f}" if value >= _NOTHING else "0"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def sentence(energy_j: float, co2e_g: float | None, low_g: float | None, high_g: float | None) -> str:
    """`about 3.1 kWh, 1.2 kg CO2e by the end (0.9 to 1.6 kg)`; without emissions only the energy."""
    energy = _amount(energy_j / 3600, "Wh", "kWh")
    if co2e_g is None:
        return f"about {energy} by the end"
    text = f"about {energy}, {_amount(co2e_g, 'g', 'kg')} CO2e by the end"
    if low_g is None or high_g is None:
        return text
    divisor, unit = (1000, "kg") if high_g >= 1000 else (1, "g")
    return f"{text} ({_digits(low_g / divisor)} to {_digits(high_g / divisor)} {unit})"


def of_server(prediction: Mapping[str, object]) -> str | None:
    """The sentence for the server's prediction, of what is done and what is left; None if it holds no energy."""
    energy_uj = _number(prediction.get("energy_uj"))
    if energy_uj is None:
        return None
    grams = [_number(prediction.get(name)) for name in ("emissions_ug", "low_ug", "high_ug")]
    return sentence(energy_uj / 1e6, *(None if value is None else value / 1e6 for value in grams))


def of_results(results: Sequence[Result], total: int) -> str | None:
    """The mean of the epochs so far times the number of all; None without any result."""
    if not results:
        return None

    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) * total if len(known) == len(values) else None

    def mean_of(field: str) -> float | None:
        # With its batches, which may be spans too.
        return mean([getattr(result, f"inclusive_{field}", None) or getattr(result, field) for result in results])

    text = sentence(mean_of("energy_j") or 0.0, mean_of("co2e_g"), mean_of("low_g"), mean_of("high_g"))
    return f"{text}, by the mean of {len(results)} so far"


def of_time(seconds: float, left: int, unit: str) -> str:
    """What can be said without a server: the time."""
    minutes = seconds / 60
    text = f"{seconds:.0f} s" if seconds < 120 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
    return f"about {text} to the end ({left} {unit}s left); energy and CO2e are known once the server has the spans"


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
