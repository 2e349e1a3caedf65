"""The CarbonTransfer resource, v1alpha1: part of one budget's limit goes to another budget for one period.

Texts are what `kubectl explain` shows. Rules are CEL, checked by the API server at `kubectl apply`. The policy
carbonbudget-transfers of the chart checks that the two budgets differ, and that the creator may update both.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal

from pydantic import Field

from carbonbudget_operator.api.base_model import Model, rules
from carbonbudget_operator.api.carbonbudget import ObjectMeta

_LABEL: Final = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_NAME_RULE: Final = (
    "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",
    "no CarbonBudget can have this name: write lower case letters, digits, - and .",
)


class TransferReceiver(Model):
    """The budget that receives."""

    namespace: str = Field(
        min_length=1,
        max_length=63,
        description="Namespace of the CarbonBudget whose limit rises.",
        json_schema_extra=rules(
            (
                f"self.matches('^{_LABEL}$')",
                "no namespace can have this name: write at most 63 lower case letters, digits and -",
            )
        ),
    )
    name: str = Field(
        min_length=1,
        max_length=253,
        description="Name of the CarbonBudget whose limit rises.",
        json_schema_extra=rules(_NAME_RULE),
    )


class CarbonTransferSpec(Model):
    """How much goes from which budget to which. It cannot be changed."""

    source: str = Field(
        min_length=1,
        max_length=253,
        description="The CarbonBudget of this namespace whose limit falls.",
        json_schema_extra=rules(_NAME_RULE),
    )
    to: TransferReceiver = Field(
        description="The CarbonBudget whose limit rises by as much, another one than source. Both have the same "
        "present period, the same accounting and the same parent, if any."
    )
    amount: str = Field(
        max_length=24,
        description="CO2e: a number with a unit mg, g, kg or t, for example 5kg. More than zero, at most 9 digits "
        "before and after the point, and no finer than a microgram. At most what is left of the source.",
        json_schema_extra=rules(
            (
                "self.matches('^[0-9]{1,9}([.][0-9]{1,9})?(mg|g|kg|t)$')",
                "amount must be a number with a unit mg, g, kg or t, without a space, for example 5kg",
            ),
            (
                "!self.matches('[.][0-9]{4,}mg$') && !self.matches('[.][0-9]{7,}g$')",
                "amount is finer than a microgram: write at most 3 decimals of mg or 6 of g",
            ),
            ("self.matches('[1-9]')", "amount must be more than zero"),
        ),
    )
    reason: str = Field(
        default="",
        max_length=128,
        description="Why the amount is transferred: one line of at most 128 printable characters. Left out: none is "
        "shown.",
        json_schema_extra=rules(
            (
                "!self.matches('[\\\\p{C}\\\\p{Zl}\\\\p{Zp}]')",
                "reason must be one line of printable characters, for example: the training moved to team-b",
            )
        ),
    )


class CarbonTransferStatus(Model):
    """The status of a transfer. Only the controller writes it."""

    state: Literal["Applied", "Refused"] | None = Field(
        default=None,
        description="Applied: both limits were changed. Refused: neither was, and message says why. Both are final. "
        "Left out while it is not decided.",
    )
    message: str | None = Field(
        default=None, description="What was done, or what the decision waits for, in a sentence."
    )
    decided_at: dt.datetime | None = Field(default=None, description="When the transfer was applied or refused.")
    period_start: dt.datetime | None = Field(
        default=None, description="Start of the period in which the transfer counts: the one in which it was created."
    )
    period_end: dt.datetime | None = Field(
        default=None, description="End of the period in which the transfer counts, not included."
    )


class CarbonTransfer(Model):
    """Part of one budget's limit, given to another budget for the present period of both."""

    metadata: ObjectMeta
    spec: CarbonTransferSpec = Field(description="How much goes from which budget to which.")
    status: CarbonTransferStatus = Field(
        default=CarbonTransferStatus(), description="Whether it was applied; written by the controller."
    )


TRANSFER_SPEC_RULES: Final = rules(("self == oldSelf", "a transfer cannot be changed: create another one"))
