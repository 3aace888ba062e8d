"""The section ``reconcile`` of sync.yaml."""

from __future__ import annotations

from pydantic import Field

from enerflo_sync.crm.options import Options


class ReconcileOptions(Options):
    """How differences are judged and kept."""

    in_flight_minutes: int = Field(30, ge=0, description="A difference younger than this is in_flight.")
    unexplained_budget: int = Field(0, ge=0, description="Unexplained differences that are allowed.")
    samples: int = Field(20, ge=0, le=1000, description="Differences per table shown in a report.")
    keep_days: int = Field(
        90,
        ge=1,
        description="Days after which stored differences are deleted; retention.differences_days is the"
        " same.",
    )
    lookback_minutes: int = Field(
        15, ge=0, description="How far an incremental run goes back before the one it stands on."
    )
    shrink_guard_percent: int = Field(
        20,
        ge=1,
        le=100,
        description="Where a CRM table has lost more of its rows than this at once, and ten at least, nothing"
        " is concluded from the rows that it lacks until the table has stayed so for an hour; 100: never.",
    )
