"""The CarbonTransfer resource, v1alpha1: part of one budget's limit goes to another for one period."""

from __future__ import annotations

import datetime as dt
from typing import Final, Literal

from pydantic import Field

from carbonbudget_operator.api.base_model import Model, rules
from carbonbudget_operator.api.carbonbudget import ObjectMeta


class TransferReceiver(Model):
    """The budget that receives."""

    namespace: str = Field(min_length=1, max_length=63, description="Its namespace.")
    name: str = Field(min_length=1, max_length=253, description="Its name.")


class CarbonTransferSpec(Model):
    """How much goes from which budget to which. It cannot be changed."""

    source: str = Field(
        min_length=1, max_length=253, description="The CarbonBudget of this namespace whose limit falls."
    )
    to: TransferReceiver = Field(description="The CarbonBudget whose limit rises by as much.")
    amount: str = Field(max_length=24, description="CO2e: a number with a unit mg, g, kg or t, for example 5kg.")
    reason: str = Field(default="", max_length=128, description="Why, in one line. Left out: nothing is said.")


class CarbonTransferStatus(Model):
    """The status of a transfer. Only the controller writes it."""

    state: Literal["Applied", "Refused"] | None = Field(
        default=None, description="Applied: both limits were changed. Refused: neither was, and message says why."
    )
    message: str | None = Field(default=None, description="What was done, in a sentence.")
    decided_at: dt.datetime | None = Field(default=None, description="When.")
    period_start: dt.datetime | None = Field(default=None, description="Start of the period in which it counts.")
    period_end: dt.datetime | None = Field(default=None, description="Its end.")


class CarbonTransfer(Model):
    """Part of one budget's limit, given to another budget for the present period of both."""

    metadata: ObjectMeta
    spec: CarbonTransferSpec = Field(description="How much goes from which budget to which.")
    status: CarbonTransferStatus = Field(
        default=CarbonTransferStatus(), description="What came of it; written by the controller."
    )


TRANSFER_SPEC_RULES: Final = rules(("self == oldSelf", "a transfer cannot be changed: make another one"))
