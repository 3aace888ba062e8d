"""The section ``reconcile`` of sync.yaml."""

from __future__ import annotations

from pydantic import Field

from enerflo_sync.crm.options import Options


class ReconcileOptions(Options):
    """How differences are judged and kept."""

    in_flight_minutes: int = Field(
        30,
        ge=0,
        description="A difference is in_flight if one side changed, or came into the mirror, within so many"
        " minutes, and no reconciliation found the same two values before that.",
    )
    unexplained_budget: int = Field(
        0, ge=0, description="How many unexplained differences a report may have and still be an all-clear."
    )
    samples: int = Field(20, ge=0, le=1000, description="Differences per table shown in a report.")
    keep_days: int = Field(
        90,
        ge=1,
        description="Days after which stored differences are deleted; retention.differences_days is the"
        " same.",
    )
    lookback_minutes: int = Field(
        15, ge=0, description="How far back before the previous run an incremental run looks for changes."
    )
    shrink_guard_percent: int = Field(
        20,
        ge=1,
        le=100,
        description="If a CRM table loses more than this share of its rows at once, and at least ten rows, no"
        " deletion is believed until the table has stayed at its new size for an hour; 100: never.",
    )
