"""When an account's jobs start."""

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
        "*/5 * * * *", description="When the drop is looked into even if nothing said that a file arrived."
    )
    time_zone: str = Field(
        "UTC", description="Time zone of these expressions, as in America/Denver; its clock changes count."
    )
    prune: str = Field(
        "15 3 * * 0", description="When what is older than the section retention keeps it is deleted."
    )
