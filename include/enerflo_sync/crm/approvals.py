"""The section ``approval`` of sync.yaml: which plans wait for a person."""

from __future__ import annotations

from pydantic import Field

from enerflo_sync.crm.options import Options


class ApprovalOptions(Options):
    """Which changes of a plan wait for a person's approval."""

    changes: int = Field(500, ge=0, description="All changes wait if more than this would need no approval.")
    percent: float = Field(
        10,
        ge=0,
        le=100,
        description="The changes of a table wait if they are more than this share of its rows; 100: never.",
    )
    backfill_changes: int = Field(
        100, ge=0, description="Changes that come from a backfill wait if they are more than this."
    )
    backfill_requests: int = Field(
        2_000,
        ge=0,
        description="A backfill in Airflow waits if it needs more requests than this (300 take a minute). Its"
        " form may name fewer, never more.",
    )
    nulling: bool = Field(True, description="Changes that remove a value wait.")
    deletions: bool = Field(True, description="Deletions of rows wait.")
    new_mapping: bool = Field(True, description="The first plan after a change of the mapping waits.")
    first_to_enerflo: bool = Field(True, description="The first plan that writes anything to Enerflo waits.")
    always: bool = Field(False, description="Every plan waits.")
    second_person: bool = Field(
        False, description="Two different persons must approve a plan that waits before it is applied."
    )
    expires_hours: float = Field(
        24, gt=0, le=24 * 30, description="A plan, and its approval, can be applied for so many hours."
    )
