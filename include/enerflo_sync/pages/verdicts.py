"""The stored verdicts that pages show: the newest of each account, and whether it is out of date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.schedule import Schedule
from enerflo_sync.gaps.schedule import cron
from enerflo_sync.reconcile.render.stored_verdict import StoredVerdict, stored_verdict
from enerflo_sync.reconcile.render.summary import in_order
from enerflo_sync.reconcile.render.verdict import Tone
from enerflo_sync.reconcile.render.wording import utc
from enerflo_sync.reconcile.report import ReconciliationReport
from enerflo_sync.reconcile.store import MOST_AT_ONCE

# A reconciliation may end this long after its scheduled time.
_GRACE = timedelta(hours=1)

# Reads only the stored verdict if there is one, since a report can have a megabyte.
_NEWEST = sa.text("""
/* enerflo-sync pages: the newest reconciliation of each account */
select a.account, r.reconciliation_id, r.started_at, r.finished_at, r.summary,
  case when r.summary is null then r.report end as report, now() as at
from unnest(cast(:accounts as text[])) a (account)
left join lateral (
  select * from (
    select c.reconciliation_id, c.started_at, c.finished_at, c.compared_until, c.summary, c.report
    from sync.reconciliations c where c.account = a.account order by c.started_at desc limit :at_once
  ) n order by n.compared_until desc, n.started_at desc limit 1
) r on true
""")


@dataclass(frozen=True)
class NewestVerdict:
    """An account's newest reconciliation.

    :param late: a sentence if a reconciliation was due since and did not end; otherwise empty.
    """

    reconciliation_id: str
    started_at: datetime
    finished_at: datetime
    verdict: StoredVerdict
    late: str

    @property
    def tone(self) -> Tone:
        """Return the colour of the verdict now: an old verdict is not good news."""
        return Tone.UNSURE if self.late and self.verdict.tone is Tone.GOOD else self.verdict.tone


def read_newest(
    connection: sa.Connection, schedules: Mapping[str, Schedule]
) -> dict[str, NewestVerdict | None]:
    """Return the newest verdict of each account of one warehouse; None for accounts without a reconciliation.

    :param schedules: by account, when its jobs are due.
    """
    values = {"accounts": list(schedules), "at_once": MOST_AT_ONCE}
    rows = connection.execute(_NEWEST, values).mappings()
    return {row["account"]: _newest(row, schedules[row["account"]]) for row in rows}


def _newest(row: sa.RowMapping, schedule: Schedule) -> NewestVerdict | None:
    if row["reconciliation_id"] is None:
        return None
    ended = row["finished_at"] or row["started_at"]
    late = ""
    # Most accounts were reconciled recently, so their schedule need not be computed.
    if row["at"] - ended > _GRACE:
        due = cron(schedule.reconcile, schedule.time_zone)(ended)
        if due + _GRACE < row["at"]:
            late = f"A reconciliation was due at {utc(due)}, and none has ended since."
    return NewestVerdict(
        row["reconciliation_id"],
        row["started_at"],
        ended,
        verdict_of_row(row["summary"], row["report"]),
        late,
    )


def verdict_of_row(summary: Mapping[str, Any] | None, report: Mapping[str, Any] | None) -> StoredVerdict:
    """Return a stored verdict; versions that stored none have it in their report."""
    if summary is not None:
        found = msgspec.convert(summary, StoredVerdict, strict=False)
        # PostgreSQL sorts the keys of a jsonb object by their length.
        return msgspec.structs.replace(found, causes=in_order(found.causes))
    return stored_verdict(msgspec.convert(report, ReconciliationReport, strict=False))


def advice(verdict: StoredVerdict) -> str:
    """Return the verdict's next step if a page without the report's samples can offer it."""
    return "" if verdict.unexplained > verdict.budget else verdict.next_step


_RANKS: Sequence[Tone] = (Tone.BAD, Tone.UNSURE, Tone.GOOD)


def gravity(newest: NewestVerdict) -> tuple[int, int, int]:
    """Return a sort key that brings the gravest verdict first."""
    shown = newest.verdict
    return _RANKS.index(newest.tone), -shown.unexplained, -shown.differences
