"""The section ``retention`` of sync.yaml: how long data that grows with time is kept."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import Field

from enerflo_sync.crm.options import Options
from enerflo_sync.crm.problems import Problem

if TYPE_CHECKING:
    from enerflo_sync.crm.config import SyncConfig
    from enerflo_sync.crm.source import Source

# How long plans look for an appointment that could not be made with its lead.
APPOINTMENT_DAYS = 7
_HOURS = 24
_MINUTES = 24 * 60


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


def differences_days(config: SyncConfig) -> int:
    """Return for how many days stored differences are kept."""
    return config.retention.differences_days or config.reconcile.keep_days


def option_of(config: SyncConfig, kind: Kept) -> tuple[str, int | None]:
    """Return the option for a kind, and its days; None if data of the kind is never deleted."""
    if kind is Kept.DIFFERENCES:
        own = config.retention.differences_days
        return "reconcile.keep_days" if own is None else "retention.differences_days", differences_days(
            config
        )
    if kind is Kept.ARCHIVE:
        own, other = config.retention.archive_days, config.webhooks.archive_days
        return ("webhooks.archive_days", other) if own is None else ("retention.archive_days", own)
    name = f"{kind}_days"
    return f"retention.{name}", getattr(config.retention, name)


def retention_problems(config: SyncConfig, source: Source) -> Iterator[Problem]:
    """Yield each limit that contradicts another, or deletes rows that may still be needed."""
    aliases = (
        ("differences_days", config.reconcile, "reconcile", "keep_days"),
        ("archive_days", config.webhooks, "webhooks", "archive_days"),
    )
    for name, section, other, option in aliases:
        own, days = getattr(config.retention, name), getattr(section, option)
        if own is not None and option in section.model_fields_set and days != own:
            yield source.problem(
                ("retention", name), str(own), f"{days} as {other}.{option}, or one of the two left out"
            )
    waits = config.approval.expires_hours
    for kind in (Kept.PLANS, Kept.DIFFERENCES, Kept.REPORTS):
        option, bound = option_of(config, kind)
        if bound is not None and bound * _HOURS < waits:
            yield source.problem(
                tuple(option.split(".")),
                f"{bound} days",
                f"no less than approval.expires_hours, {waits:g} hours: a plan that waits for approval"
                " stands on them",
            )
    plans = config.retention.plans_days
    if plans is not None and plans < config.retention.undo_days:
        yield source.problem(
            ("retention", "plans_days"),
            f"{plans} days",
            f"no less than retention.undo_days, {config.retention.undo_days}: an undo reads the plan's"
            " changes",
        )
    if plans is not None and plans < APPOINTMENT_DAYS and config.writes.appointment is not None:
        yield source.problem(
            ("retention", "plans_days"),
            f"{plans} days",
            f"no less than {APPOINTMENT_DAYS}: for so long an appointment that was not made is looked for"
            " in plans (writes.appointment)",
        )
    bodies = config.retention.webhook_bodies_days
    if bodies is not None and bodies * _MINUTES < config.webhooks.not_found_minutes:
        yield source.problem(
            ("retention", "webhook_bodies_days"),
            f"{bodies} days",
            f"no less than webhooks.not_found_minutes, {config.webhooks.not_found_minutes} minutes",
        )
