"""The section ``retention`` of sync.yaml: how long data that grows with time is kept."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from enerflo_sync.crm.options import Options

# How long plans look for an appointment that could not be made with its lead.
APPOINTMENT_DAYS = 7


class Kept(StrEnum):
    """The kinds of data that ``enerflo-sync prune`` deletes by age, in this order."""

    PLANS = "plans"
    LEDGER = "ledger"
    DIFFERENCES = "differences"
    REPORTS = "reports"
    VERSIONS = "versions"
    WEBHOOK_BODIES = "webhook_bodies"
    ARCHIVE = "archive"
    RUNS = "runs"
    LOOKS = "looks"


class RetentionOptions(Options):
    """Days after which ``enerflo-sync prune`` deletes data that nothing needs any more; null: never.

    docs/retention.md lists for each table what is never deleted.
    """

    versions_days: int | None = Field(
        365,
        ge=1,
        description="Raw versions of records are thinned: the first, the last and those that a decision cites"
        " stay.",
    )
    webhook_bodies_days: int | None = Field(
        180, ge=1, description="Bodies of webhook events are emptied; the events themselves stay."
    )
    archive_days: int | None = Field(
        None, ge=1, description="The same option as webhooks.archive_days: files of the archive are deleted."
    )
    differences_days: int | None = Field(
        None,
        ge=1,
        description="The same option as reconcile.keep_days: differences are deleted, reports stay.",
    )
    reports_days: int | None = Field(730, ge=1, description="Reports of reconciliations are deleted.")
    plans_days: int | None = Field(
        365, ge=1, description="Plans that ended are deleted, and can be neither undone nor shown any more."
    )
    ledger_days: int | None = Field(
        None,
        ge=1,
        description="The ledger is thinned: of each field the first and the last change before that time"
        " stay, and those of plans that are kept.",
    )
    undo_days: int = Field(
        30, ge=0, description="An applied plan can be undone for so long at least: plans_days is no shorter."
    )
    runs_days: int | None = Field(
        365, ge=1, description="Runs of jobs and of checks, ended backfills, request counts, sent messages."
    )
    looks_days: int | None = Field(
        90, ge=1, description="What was seen of CRM tables that sync.yaml does not name any more."
    )
