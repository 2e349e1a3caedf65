"""`Result`: the energy and the emissions of one span, as the server answers them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELDS = {  # field: (name in the server's answer, divisor)
    "energy_j": ("energy_uj", 1e6),
    "co2e_g": ("emissions_ug", 1e6),
    "market_g": ("market_emissions_ug", 1e6),
    "embodied_g": ("embodied_ug", 1e6),
    "low_g": ("low_ug", 1e6),
    "high_g": ("high_ug", 1e6),
    "measured_percent": ("measured_permille", 10.0),
    "inclusive_energy_j": ("inclusive_energy_uj", 1e6),
    "inclusive_co2e_g": ("inclusive_emissions_ug", 1e6),
}


class Result:
    """Energy and emissions of one span; spans inside it have their own, and all of them and the rest add up to the pod.

    `energy_j` is joules; `co2e_g` (location-based), `market_g`, `embodied_g` and the range `low_g` to `high_g` are
    grams; `inclusive_energy_j` and `inclusive_co2e_g` contain the spans inside. A figure that is not known yet is
    None. `resolution` is `weighted`, `window` or `prorated`; `state` is `provisional` or `final`.
    """

    __slots__ = (*_FIELDS, "resolution", "state")

    energy_j: float
    co2e_g: float | None
    market_g: float | None
    embodied_g: float | None
    low_g: float | None
    high_g: float | None
    measured_percent: float | None
    inclusive_energy_j: float | None
    inclusive_co2e_g: float | None
    resolution: str
    state: str

    def __init__(self, answer: Mapping[str, object]) -> None:
        for field, (name, divisor) in _FIELDS.items():
            value = answer.get(name)
            known = isinstance(value, (int, float)) and not isinstance(value, bool)
            setattr(self, field, value / divisor if known else None)  # type: ignore[operator] # `known` says that it is a number
        self.resolution = str(answer.get("resolution") or "prorated")
        self.state = "final" if answer.get("state") == "final" else "provisional"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Result) and all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__slots__))

    def __repr__(self) -> str:
        return f"Result({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"
