"""The section ``approval`` of sync.yaml: which plans wait for a person."""

from __future__ import annotations

from pydantic import Field

from enerflo_sync.crm.options import Options


class ApprovalOptions(Options):
    """Which plans wait for a person."""

    changes: int = Field(500, ge=0, description="Plans of more changes than this.")
    percent: float = Field(10, ge=0, le=100, description="Plans that change more of a table; 100: none.")
    backfill_changes: int = Field(
        100, ge=0, description="Plans with more changes than this that come from a backfill."
    )
    backfill_requests: int = Field(
        2_000,
        ge=0,
        description="Backfills in Airflow of more requests than this; the form may name fewer, never more."
        " 300 take a minute.",
    )
    nulling: bool = Field(True, description="Plans that take a value away.")
    deletions: bool = Field(True, description="Plans that delete a row.")
    new_mapping: bool = Field(True, description="The first plan of a mapping that changed.")
    first_to_enerflo: bool = Field(True, description="The first plan that writes anything to Enerflo.")
    always: bool = Field(False, description="Every plan.")
    second_person: bool = Field(
        False, description="A plan that waits is approved by two different persons before it is applied."
    )
    expires_hours: float = Field(24, gt=0, le=24 * 30, description="How long a plan may be applied.")
