"""CEL rules that fields of several kinds share: masses, time zones, lines of text, instants.

Each rule comes with a sentence that says what to write instead.
"""

from __future__ import annotations

from typing import Any, Final

from carbonbudget_operator.api.base_model import rules

Rule = tuple[str, str]  # expression, what to write instead


def mass_rules(field: str) -> tuple[Rule, ...]:
    """A mass of CO2e as `budgets.quantity.parse_mass` reads it."""
    return (
        (
            "self.matches('^[0-9]{1,9}([.][0-9]{1,9})?(mg|g|kg|t)$')",
            f"{field} must be a number with a unit mg, g, kg or t, without a space, for example 5kg",
        ),
        (
            "!self.matches('[.][0-9]{4,}mg$') && !self.matches('[.][0-9]{7,}g$')",
            f"{field} is finer than a microgram: write at most 3 decimals of mg or 6 of g",
        ),
    )


TIME_ZONE_RULES: Final[dict[str, Any]] = rules(
    (  # CEL takes an offset such as +02:00 too, which has no calendar of its own
        "!self.contains(':') && self != 'Local' && timestamp('2020-01-01T00:00:00Z').getHours(self) >= 0",
        "timeZone must be a name of the IANA database, for example Europe/Paris or UTC",
    )
)


def one_line(field: str, example: str) -> Rule:
    """Text that a terminal shows on one line."""
    return (
        "!self.matches('[\\\\p{C}\\\\p{Zl}\\\\p{Zp}]')",
        f"{field} must be one line of printable characters, for example {example}",
    )


def instant_rule(fields: str) -> Rule:
    """Calendar arithmetic fails outside these years."""
    return (
        "self >= timestamp('1971-01-01T00:00:00Z') && self < timestamp('9000-01-01T00:00:00Z')",
        f"{fields} must lie between the years 1971 and 9000",
    )
