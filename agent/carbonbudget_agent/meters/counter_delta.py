"""Computes the energy between two readings of a cumulative counter, or rejects them. Pure.

A counter can go back because it wrapped, because it was reset, or because its firmware made a mistake; it can
also jump forward. The two readings alone do not say which. So a result is accepted only if the device can have
drawn it in the time between them, and only if no second result is possible as well.
"""

from __future__ import annotations

from carbonbudget_agent.meters import ImplausibleError, MeterError

# Readings are stamped before they are made, and counters are refreshed up to ten times a second: the energy of
# this much more time may be in a difference.
_SLACK_MS = 1_000
# Power limits are averages over seconds, and an administrator can raise them: twice the stated maximum.
MARGIN = 2


def counted_uj(what: str, before_uj: int, after_uj: int, elapsed_ms: int, most_watts: int, range_uj: int = 0) -> int:
    """Microjoules between two readings of the counter `what`, `elapsed_ms` apart.

    `most_watts` is the most that the device can draw, margin included. `range_uj` is where the counter starts again
    from 0; 0 for a counter that never does.

    Raises:
        ImplausibleError: it went back without a wrap, or by a wrap that would be more than the device can draw.
        MeterError: more than one result is possible: the counter may have wrapped once more.
    """
    most_uj = most_watts * 1000 * (elapsed_ms + _SLACK_MS)
    delta_uj = after_uj - before_uj
    if delta_uj < 0 and delta_uj + range_uj < 0:
        raise ImplausibleError(f"{what} went back by {-delta_uj // 1_000_000} J")
    if delta_uj < 0:
        delta_uj += range_uj
        if delta_uj > most_uj:
            raise ImplausibleError(
                f"{what} went back by {(before_uj - after_uj) // 1_000_000} J; a wrap would be "
                f"{_watts(delta_uj, elapsed_ms)} W, and it can draw {most_watts} W"
            )
    if delta_uj > most_uj:
        raise ImplausibleError(f"{what} seems to draw {_watts(delta_uj, elapsed_ms)} W, and it can draw {most_watts} W")
    if range_uj and delta_uj + range_uj <= most_uj:
        raise MeterError(f"{what} may have wrapped unseen in {elapsed_ms // 1000} s")
    return delta_uj


def _watts(energy_uj: int, elapsed_ms: int) -> int:
    return energy_uj // (1000 * max(1, elapsed_ms))
