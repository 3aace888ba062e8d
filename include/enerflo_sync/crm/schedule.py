"""When an account's jobs start, and where Airflow keeps what they connect to."""

from __future__ import annotations

from pydantic import Field

from enerflo_sync.crm.options import Options


class AirflowConnections(Options):
    """The ids of the Airflow connections that stand in for the addresses and the key inside Airflow."""

    enerflo_connection: str = Field("enerflo_default", description="Connection of type enerflo.")
    warehouse_connection: str = Field("enerflo_warehouse", description="Connection of type postgres.")


class Schedule(Options):
    """When the account's jobs start, as cron expressions in UTC."""

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
    prune: str = Field(
        "15 3 * * 0", description="When what is older than the section retention keeps it is deleted."
    )
