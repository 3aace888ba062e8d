"""The section ``airflow`` of an account: how Airflow runs its DAGs, and its connections in Airflow."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from enerflo_sync.crm.options import Options

Name = Annotated[str, StringConstraints(min_length=1, max_length=250)]


class Approver(Options):
    """A user of Airflow who may decide, if Airflow's user id differs from the name that people know."""

    id: Name = Field(description="Airflow's id of the user: with FAB the number, as text.")
    name: Name = Field(description="The name that Airflow shows.")


FunctionPath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$", max_length=250)]


class Callbacks(Options):
    """Functions of your own that Airflow calls with the context of a task, each by the path of its import."""

    failure: FunctionPath | None = Field(None, description="When a task failed for good.")
    retry: FunctionPath | None = Field(None, description="When a task failed and is tried again.")
    success: FunctionPath | None = Field(None, description="When a task succeeded.")
    skipped: FunctionPath | None = Field(None, description="When a task was skipped.")


class AirflowOptions(Options):
    """How Airflow runs the account's DAGs, and the ids of the account's connections in Airflow.

    Inside Airflow these connections replace the addresses and the key.
    """

    enerflo_connection: str = Field("enerflo_default", description="Connection of type enerflo.")
    warehouse_connection: str = Field("enerflo_warehouse", description="Connection of type postgres.")
    storage_connection: Name | None = Field(
        None,
        description="Connection that opens drop and archive on a bucket. Unset: the storage library's own"
        " credentials (environment, profile, instance role).",
    )
    owner: Name = Field("enerflo-sync", description="Owner of every task.")
    tags: list[Annotated[str, StringConstraints(min_length=1, max_length=100)]] = Field(
        [], description="Further tags of the account's DAGs, beside enerflo, its account and its group."
    )
    queue: Name | None = Field(
        None, description="Queue of every task, for CeleryExecutor. Unset: Airflow's own default."
    )
    pool: Name | None = Field(
        None, description="Pool of every task; it must exist in Airflow. Unset: the default pool."
    )
    executor: Name | None = Field(
        None, description="Executor of every task, one of those that Airflow has. Unset: the first of them."
    )
    priority_weight: int = Field(
        1, ge=1, le=1_000_000, description="Priority of every task where tasks wait for a slot; higher first."
    )
    retries: int = Field(
        3, ge=0, le=100, description="How often a task is retried, for errors that a retry can end."
    )
    callbacks: Callbacks = Field(
        default_factory=lambda: Callbacks.model_validate({}),
        description="Functions of your own, such as company.alerts.page, called when a task ends, after our"
        " own callbacks have sent the messages of notify.",
    )
    approvers: list[Name | Approver] = Field(
        [],
        description="Who may decide about plans and backfills in Airflow, by user name, or {id, name} where"
        " the two differ (FAB). Empty: everybody who may act on the DAG.",
    )
    deadline_minutes: float | None = Field(
        None,
        gt=0,
        le=7 * 24 * 60,
        description="If a run has not ended so many minutes after it was queued, Airflow marks and counts it,"
        " and the triggerer's log names it (run_overdue). Runs that wait for a person have no deadline.",
    )

    @property
    def approver_ids(self) -> dict[str, str]:
        """Return the names of users who may decide, by Airflow's user id; empty if everybody may."""
        found: dict[str, str] = {}
        for one in self.approvers:
            found |= {one.id: one.name} if isinstance(one, Approver) else {one: one}
        return found
