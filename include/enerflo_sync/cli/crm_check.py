"""The doctor's check of the CRM's own database: it can be read, and plans fill what a new row needs."""

from __future__ import annotations

from enerflo_sync.cli.check import Check
from enerflo_sync.copies.check import notices_there
from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.copies.trust import untried
from enerflo_sync.counted import count_of
from enerflo_sync.crm.doctor import Finding, Severity, finding
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.copy import run_copy


def crm_check(context: AccountContext) -> Check:
    """Bring the copies of an account's CRM tables up to date, and check what new rows need there."""
    crm, config, account = context.crm, context.config, context.account
    assert crm is not None  # noqa: S101 - a defect of ours
    try:
        reports = run_copy(context)
        found = list(notices_there(crm, config, account))
    except EnerfloSyncError as error:
        return Check("CRM database", str(error), failed=True)
    rows, read, sent = (
        sum(getattr(one, name) for one in reports) for name in ("rows", "rows_read", "statements")
    )
    detail = (
        f"{crm.dialect.title}: {count_of(rows, 'row')} in {count_of(len(reports), 'table')},"
        f" {read:,} of them read by {count_of(sent, 'statement')}"
    )
    findings = [finding(config, account, name, one, context.config_path) for name, one in found]
    return Check("CRM database", detail, findings=[*_trust(context, crm), *findings])


def _trust(context: AccountContext, crm: CrmConnections) -> list[Finding]:
    """Return the finding about a database on which our statements never ran; none for a tested database."""
    if crm.dialect.tried:
        return []
    spot = context.config.spot("accounts", context.account, "crm")
    trusted = context.settings.crm is not None and context.settings.crm.trust_dialect
    return [
        Finding(
            Severity.HINT if trusted else Severity.WARNING,
            str(spot.file),
            spot.line,
            f"accounts.{context.account}.crm",
            f"{crm.dialect.title}, {untried(crm.dialect)}",
            "a look at its first report",
            "You trust it to be written (trust_dialect)."
            if trusted
            else "Start in mode report. Nothing is written there before you write trust_dialect: true.",
        )
    ]
