"""When an account's jobs start: by the clock, and at most how often because of changes."""

from __future__ import annotations

from pydantic import Field

from enerflo_sync.crm.options import Options


class Schedule(Options):
    """When the account's jobs start, as cron expressions in one time zone."""

    poll: str = Field("*/15 * * * *", description="When Enerflo is polled.")
    reconcile: str = Field(
        "0 5 * * *", description="When everything is reconciled even if the mirror did not change."
    )
    full_reconcile: str = Field(
        "30 9 * * 6",
        description="The first reconciliation after this time compares every row, whatever changed.",
    )
    webhooks: str = Field(
        "*/5 * * * *", description="When webhooks are ingested even if no arriving file started an ingest."
    )
    time_zone: str = Field(
        "UTC", description="Time zone of these expressions, as in America/Denver; its clock changes count."
    )
    prune: str = Field(
        "15 3 * * 0", description="When data that is older than the section retention allows is deleted."
    )


class Rhythm(Options):
    """The least time between two runs that changes start; the next run covers the changes meanwhile.

    The first change after a quiet time starts a run at once. A run that a person or the schedule starts does
    not count, but waits for a run that collects changes.
    """

    reconcile_seconds: int = Field(
        60,
        ge=0,
        le=3_600,
        description="The least time between the starts of two reconciliations; 0 for none.",
    )
    plan_seconds: int = Field(
        0,
        ge=0,
        le=3_600,
        description="The least time between the starts of two plans; 0: one plan for each reconciliation.",
    )
