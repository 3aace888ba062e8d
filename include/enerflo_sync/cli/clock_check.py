"""The doctor's check of clocks: ``newest`` compares times that different clocks made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, timedelta

import sqlalchemy as sa

from enerflo_sync.cli.check import Check
from enerflo_sync.crm.doctor import Finding, Severity
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext

# Two people seldom change one field within a minute, and the time of an answer has whole seconds.
_MOST = timedelta(minutes=1)


def clock_check(context: AccountContext) -> Iterator[Check]:
    """Yield how far the clocks of Enerflo and of the CRM's database are from the warehouse's.

    Nothing where no field goes to the side that changed later, or where no clock could be asked. The clock of
    whoever fills the column ``updated_at`` in the warehouse itself cannot be asked.
    """
    config, account = context.config, context.account
    tables = [name for name, mapping in config.tables_for(account).items() if mapping.goes_by_time]
    if not tables:
        return
    try:
        known = {"Enerflo": context.client.ahead, "the CRM's database": _of_crm(context)}
    except EnerfloSyncError as error:
        yield Check("clocks", str(error), failed=True)
        return
    ahead = {name: by for name, by in known.items() if by is not None}
    if not ahead:
        return
    spot = config.table_spot(account, tables[0])
    findings = [
        Finding(
            Severity.WARNING,
            str(spot.file),
            spot.line,
            f"tables.{tables[0]}",
            f"source_of_truth: newest beside a clock of {name} that is {_words(by)} the warehouse's",
            "clocks less than a minute apart",
            "Of two edits of one field within that time, the earlier one may win. Set the clock, or say"
            " review, or a side, for fields that people edit on both sides.",
        )
        for name, by in ahead.items()
        if abs(by) >= _MOST
    ]
    said = ", ".join(f"{name}'s is {_words(by)} it" for name, by in ahead.items())
    yield Check("clocks", f"compared with the warehouse's: {said}", findings=findings)


def _of_crm(context: AccountContext) -> timedelta | None:
    """Return by how much the clock of the CRM's own database is ahead; None where it is not known."""
    crm = context.crm
    if crm is None or not crm.dialect.present:
        return None
    with crm.connected("reading its clock") as connection:
        before = context.clock.now()
        there = connection.execute(sa.text(crm.dialect.present)).scalar_one()
        after = context.clock.now()
    there = there.replace(tzinfo=UTC) if there.tzinfo is None else there
    return timedelta(seconds=(there - (before + (after - before) / 2)).total_seconds())


def _words(by: timedelta) -> str:
    seconds = by.total_seconds()
    return f"{abs(seconds):,.0f} s {'ahead of' if seconds > 0 else 'behind'}"
