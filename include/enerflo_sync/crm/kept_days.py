"""For how long each kind of data is kept: sections of sync.yaml say so, and may contradict each other."""

from __future__ import annotations

from collections.abc import Iterator

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.problems import Problem
from enerflo_sync.crm.retention import APPOINTMENT_DAYS, Kept
from enerflo_sync.crm.source import Source

_HOURS = 24
_MINUTES = 24 * 60


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
