"""The overview page of one account: the verdict, its worst cause, waiting entries, and freshness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.counted import count_of
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.gaps.schedule import cron
from enerflo_sync.pages.days import DAYS, Day, day_chart, day_of, read_days
from enerflo_sync.pages.pairs import ShownPair, shown_pair
from enerflo_sync.pages.records import record_address
from enerflo_sync.pages.run_page import JOBS
from enerflo_sync.pages.verdicts import NewestVerdict, advice, read_newest
from enerflo_sync.pages.waiting import EntryKind, waiting_by_kind
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.render.verdict import Tone
from enerflo_sync.reconcile.render.wording import key_values
from enerflo_sync.reconcile.report import Cause
from enerflo_sync.reconcile.store import difference, masked_key, personal_data_classes, read_whole
from enerflo_sync.warehouse.engine import transaction_time
from enerflo_sync.warehouse.request_standing import Standing, standing

OLDEST = 3
# The inbox's entries by kind; kinds of _ALWAYS are shown even without entries.
_KINDS: Mapping[EntryKind, str] = {
    EntryKind.PLAN: "Plans to decide about",
    EntryKind.QUARANTINE: "Kinds of quarantined input",
    EntryKind.HELD: "Held change orders",
    EntryKind.PARKED: "Writes that were not made",
    EntryKind.LATE: "Late on the way to the CRM",
    EntryKind.QUESTION: "Questions for a person",
    EntryKind.REFUSED: "Refusals that stand",
}
_ALWAYS = (EntryKind.PLAN, EntryKind.QUARANTINE, EntryKind.HELD, EntryKind.QUESTION)
_DAY = timedelta(days=1)

_WEBHOOK = sa.text("""
/* enerflo-sync pages: when the last webhook arrived */
select received_at from sync.webhook_events where account = :account order by received_at desc limit 1
""")

_OLDEST = sa.text("""
/* enerflo-sync pages: the oldest differences of a cause */
select d.*, null as hint from sync.differences d
where d.account = :account and d.reconciliation_id = :reconciliation_id and d.cause = :cause
order by d.since nulls first, d.difference_id limit :most
""")

_NEW = sa.text("""
/* enerflo-sync pages: differences that came since */
select count(*) from sync.differences d
where d.account = :account and d.reconciliation_id = :reconciliation_id and d.since > :since
""")


@dataclass(frozen=True)
class OldRecord:
    """One difference of the worst cause.

    :param key: its masked key, for people; :param bare_key: for its address, None if it is personal data.
    """

    table: str
    key: str
    bare_key: Mapping[str, Any] | None
    field: str | None
    pair: ShownPair
    since: datetime | None


@dataclass(frozen=True)
class DayChange:
    """How the differences changed since the day before.

    :param since: the end of that day's last reconciliation.
    """

    new: int
    resolved: int
    since: datetime


@dataclass(frozen=True)
class NextRun:
    """When a job runs next.

    :param at: None if it is switched off in Airflow.
    """

    job: str
    at: datetime | None


@dataclass(frozen=True)
class FailedRun:
    """A DAG's newest finished run, if it failed."""

    job: str
    dag_id: str
    run_id: str
    ended_at: datetime


@dataclass(frozen=True)
class Freshness:
    """The freshness of an account.

    :param read_at: until when every compared list was read as a whole; None if one never was.
    :param webhook_at: when the last webhook arrived; None if none ever did.
    """

    read_at: datetime | None
    webhook_at: datetime | None
    budgets: Sequence[Standing]
    runs: Sequence[NextRun]


@dataclass(frozen=True)
class Overview:
    """The content of the page."""

    account: str
    newest: NewestVerdict | None
    worst: Cause | None
    oldest: Sequence[OldRecord]
    waiting: Mapping[EntryKind, int]
    fresh: Freshness
    days: Sequence[Day]
    change: DayChange | None
    now: datetime
    writes: bool
    failed: Sequence[FailedRun] = ()


def read_overview(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    known: Mapping[str, NextRun] | None = None,
    failed: Sequence[FailedRun] = (),
) -> Overview:
    """Return the content of the page, masked.

    :param known: by job, when Airflow runs it next; for a job unknown to Airflow its schedule is used.
    :param failed: jobs whose newest run failed, the latest first.
    """
    now = transaction_time(connection)
    schedule = config.account(account).schedule
    newest = read_newest(connection, {account: schedule})[account]
    days = read_days(connection, account, now + _DAY, since=day_of(now) - (DAYS - 1) * _DAY)
    worst = next(iter(newest.verdict.causes), None) if newest else None
    whole = read_whole(connection, account)
    kinds = {table.kind(name) for name, table in config.tables_for(account).items()}
    read_at = min((whole[kind] for kind in kinds), default=None) if kinds <= whole.keys() else None
    due = {"poll": schedule.poll, "reconcile": schedule.reconcile}
    return Overview(
        account=account,
        newest=newest,
        worst=worst,
        oldest=_oldest(connection, config.tables_for(account), account, newest, worst),
        waiting=waiting_by_kind(connection, account, config),
        fresh=Freshness(
            read_at=read_at,
            webhook_at=connection.scalar(_WEBHOOK, {"account": account}),
            budgets=standing(connection, account),
            runs=[
                (known or {}).get(job) or NextRun(job, cron(when, schedule.time_zone)(now))
                for job, when in due.items()
            ],
        ),
        days=days,
        change=_change(connection, account, newest, days),
        now=now,
        writes=config.writes_anything(account),
        failed=failed,
    )


def _oldest(
    connection: sa.Connection,
    tables: Mapping[str, TableMapping],
    account: str,
    newest: NewestVerdict | None,
    worst: Cause | None,
) -> list[OldRecord]:
    if newest is None or worst is None:
        return []
    values = {"account": account, "reconciliation_id": newest.reconciliation_id, "cause": str(worst)}
    rows = connection.execute(_OLDEST, {**values, "most": OLDEST}).mappings().all()
    classes = personal_data_classes(tables)
    found = []
    for row in rows:
        table, key = row["table_name"], row["key"]
        hidden = masked_key(table, key, classes)
        columns = tables[table].key_columns if table in tables else ()
        shown, bare = (difference(dict(row), classes, reveal=reveal) for reveal in (False, True))
        found.append(
            OldRecord(
                table=table,
                key=key_values({name: hidden[name] for name in (*columns, *hidden) if name in hidden}),
                bare_key=key if hidden == key else None,
                field=row["field"],
                pair=shown_pair(shown, bare),
                since=row["since"],
            )
        )
    return found


def _change(
    connection: sa.Connection, account: str, newest: NewestVerdict | None, days: Sequence[Day]
) -> DayChange | None:
    """Return how many differences are new and resolved since the last day before the newest one."""
    if newest is None:
        return None
    today = day_of(newest.started_at)
    before = next((day for day in days if day.start < today), None)
    if before is None:
        return None
    values = {"account": account, "reconciliation_id": newest.reconciliation_id, "since": before.finished_at}
    new = int(connection.scalar(_NEW, values) or 0)
    stayed = newest.verdict.differences - new
    return DayChange(new, max(before.verdict.differences - stayed, 0), before.finished_at)


@dataclass(frozen=True)
class Step:
    """The next thing to do, in a sentence, with its address."""

    sentence: str
    words: str
    address: str


def next_step(shown: Overview, to: Addresses) -> Step | None:
    """Return what a person should do first; None if nothing waits."""
    newest, account, waiting = shown.newest, shown.account, shown.waiting
    inbox = to.of(Place.INBOX, account)
    if shown.failed:
        # The run's page says why it failed; until it runs again the other figures do not change.
        last = shown.failed[0]
        return Step(_failures(shown.failed), "See why", to.run(last.dag_id, last.run_id))
    if newest is None:
        return None
    verdict, report = newest.verdict, to.report(account, newest.reconciliation_id)
    if shown.fresh.read_at is None:
        return Step("Enerflo was not read whole yet.", "See what was read", to.of(Place.FRESHNESS, account))
    if newest.tone is Tone.UNSURE:
        return Step("Clear up first what makes the verdict unsure.", "Open the report", report)
    if verdict.unexplained > verdict.budget:
        address = to.differences(account, cause=str(Cause.UNEXPLAINED))
        return Step(
            f"{count_of(verdict.unexplained, 'difference')} without an explanation,"
            f" {verdict.budget:,} allowed: look at the oldest first.",
            "Open the unexplained differences",
            address,
        )
    if due := sum(number for kind, number in waiting.items() if kind is not EntryKind.REFUSED):
        total = count_of(due, "thing")
        return Step(f"{total} to resolve, the gravest first.", "Open the inbox", inbox)
    if verdict.unexplained:
        address = to.differences(account, cause=str(Cause.UNEXPLAINED))
        return Step(
            "A few differences have no explanation; they are within what is allowed.", "Look", address
        )
    return None


def _failures(failed: Sequence[FailedRun]) -> str:
    if len(failed) == 1:
        return f"The last run of {JOBS[failed[0].job]} failed."
    return f"The last runs of {len(failed)} jobs failed, that of {JOBS[failed[0].job]} latest."


def render_overview(
    shown: Overview,
    tables: Mapping[str, TableMapping],
    dag_id: str,
    poll_dag_id: str,
    frame: Frame,
    *,
    approvers: str = "",
) -> str:
    """Return the page.

    :param approvers: what keeps those who alone may decide from answering.
    :param dag_id: the DAG that reconciles the account; ``poll_dag_id`` is the one that reads Enerflo.
    """
    return render_page(
        "overview.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        approvers=approvers,
        shown=shown,
        here=frame.to.of(Place.OVERVIEW, shown.account),
        advice=advice,
        waiting=[
            (label, shown.waiting.get(kind, 0), frame.to.of(Place.INBOX, shown.account, kind=str(kind)))
            for kind, label in _KINDS.items()
            if kind in shown.waiting or kind in _ALWAYS
        ],
        step=next_step(shown, frame.to),
        chart=day_chart(shown.days, shown.now),
        dag_id=dag_id,
        poll_dag_id=poll_dag_id,
        jobs=JOBS,
        report_of=lambda id_: frame.to.report(shown.account, id_),
        record_of=lambda one: record_address(frame.to, shown.account, tables, one.table, one.bare_key),
    )


def render_backfill_form(account: str, frame: Frame, *, paused: bool, start: str = "", end: str = "") -> str:
    """Return the form that asks which installs a backfill reads.

    :param paused: the DAG is switched off, so that a run waits.
    """
    return render_page(
        "backfill_form.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        account=account,
        here=f"{frame.to.of(Place.OVERVIEW, account)}/backfill",
        paused=paused,
        start=start,
        end=end,
    )
