"""The page of an account's freshness: complete reads, gaps, budget, webhooks, backfills."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from enerflo_sync.addresses import Place
from enerflo_sync.backfill.estimate import Estimate
from enerflo_sync.backfill.store import State
from enerflo_sync.gaps.report import GapReport, Hole, HoleKind
from enerflo_sync.mirror.witness_report import WitnessReport
from enerflo_sync.pages.api_budget import ApiBudget, read_api_budget
from enerflo_sync.pages.latency import Latency, read_latency
from enerflo_sync.reconcile.render.frame import Frame
from enerflo_sync.reconcile.render.html import render_page
from enerflo_sync.reconcile.render.verdict import Tone
from enerflo_sync.reconcile.render.wording import duration
from enerflo_sync.resources.notes import SWEPT
from enerflo_sync.resources.registry import ALL

BACKFILLS: Final = 10
CLOSED_HOLES: Final = 8
# Holes that may hide records of Enerflo; other holes wait for a person or for a sender.
_GRAVE: Final = frozenset({HoleKind.RECORDS, HoleKind.DROP, HoleKind.WEBHOOKS})

_READ = sa.text("""
/* enerflo-sync pages: what was read, and when */
select
  (select jsonb_object_agg(w.name, jsonb_build_array(w.value, w.recorded_at)) from sync.watermarks w
   where w.account = :account) as marks,
  (select jsonb_object_agg(n.name, r.started_at) from unnest(cast(:unmarked as text[])) n (name)
   cross join lateral (
     select started_at from sync.runs where account = :account and job = 'poll' and state <> 'failed'
       and resources ? n.name and not coalesce(resources->n.name->'reasons' ? 'incomplete', false)
     order by started_at desc limit 1) r) as looks,
  (select max(received_at) from sync.webhook_events where account = :account) as webhook_at,
  (select jsonb_agg(jsonb_build_object('table', c.table_name, 'crm_table', c.crm_table, 'read_at', c.read_at,
     'rows', c.rows, 'moved', c.rows_read, 'seconds', c.seconds,
     'bytes_read', c.bytes_read, 'statements', c.statements) order by c.read_at)
   from sync.crm_copies c where c.account = :account) as copies
""")

_BACKFILLS = sa.text("""
/* enerflo-sync pages: backfills, newest first */
select b.backfill_id, b.kind, b.words, b.state, b.created_at, b.finished_at, b.touched_at, b.estimate,
  c.chunks, c.done, c.rows, c.expected, c.requests, c.incomplete
from (select * from sync.backfills where account = :account order by created_at desc limit :most) b
cross join lateral (
  select count(*) as chunks, count(*) filter (where state in ('done', 'incomplete')) as done,
    coalesce(sum(rows), 0)::bigint as rows, sum(expected_rows)::bigint as expected,
    coalesce(sum(requests), 0)::bigint as requests, count(*) filter (where state = 'incomplete') as incomplete
  from sync.backfill_chunks k where k.account = b.account and k.backfill_id = b.backfill_id) c
order by b.created_at desc
""")


@dataclass(frozen=True)
class ResourceLine:
    """The freshness of one kind of records.

    :param until: the moment of its last complete list; :param read_at: when that list was read. None: never.
    :param polled: whether the account's polls read it.
    :param hole: its gravest open hole.
    """

    name: str
    until: datetime | None
    read_at: datetime | None
    polled: bool
    hole: Hole | None


@dataclass(frozen=True)
class CopyLine:
    """A copy of a CRM table in another database, the time of its state, and what its last refresh cost."""

    table: str
    crm_table: str
    read_at: datetime
    rows: int
    moved: int
    seconds: float
    bytes_read: int | None
    statements: int | None


@dataclass(frozen=True)
class BackfillLine:
    """One backfill and its progress; ``estimated`` is its estimated number of requests."""

    backfill_id: str
    kind: str
    words: str
    state: State
    created_at: datetime
    finished_at: datetime | None
    touched_at: datetime
    chunks: int
    done: int
    rows: int
    expected: int | None
    requests: int
    incomplete: int
    estimated: int

    @property
    def percent(self) -> int:
        """Return how much of it is read, in per cent."""
        if self.state is State.FINISHED:
            return 100
        whole, part = (self.expected, self.rows) if self.expected else (self.chunks, self.done)
        return min(99, 100 * part // whole) if whole else 0


@dataclass(frozen=True)
class FreshnessPage:
    """The freshness of an account as of ``gaps.as_of``."""

    gaps: GapReport
    witnesses: WitnessReport
    resources: Sequence[ResourceLine]
    webhook_at: datetime | None
    copies: Sequence[CopyLine]
    budget: ApiBudget
    backfills: Sequence[BackfillLine]
    poll_due: datetime
    latency: Latency | None = None

    @property
    def open_holes(self) -> Sequence[Hole]:
        """Return the periods that no read has covered since."""
        return [hole for hole in self.gaps.holes if hole.is_open]

    @property
    def closed_holes(self) -> Sequence[Hole]:
        """Return the periods that a later read has covered."""
        return [hole for hole in self.gaps.holes if not hole.is_open]

    @property
    def oldest(self) -> ResourceLine | None:
        """Return the polled list whose last complete read is the oldest."""
        read = [line for line in self.resources if line.polled and line.until is not None]
        return min(read, key=lambda line: line.until or self.gaps.as_of, default=None)


def read_freshness(
    connection: sa.Connection,
    account: str,
    gaps: GapReport,
    witnesses: WitnessReport,
    *,
    polled: Sequence[str],
    poll_due: Callable[[datetime], datetime],
) -> FreshnessPage:
    """Return the freshness of an account.

    :param gaps: the result of ``enerflo-sync gaps``; :param witnesses: of ``enerflo-sync witnesses``.
    :param polled: the resources that its polls read; :param poll_due: when the next poll is due.
    """
    unmarked = [one.name for one in ALL if one.listing is None]
    read = connection.execute(_READ, {"account": account, "unmarked": unmarked}).one()
    rows = connection.execute(_BACKFILLS, {"account": account, "most": BACKFILLS}).mappings()
    return FreshnessPage(
        gaps=gaps,
        witnesses=witnesses,
        resources=list(_resources(read, polled, gaps)),
        webhook_at=read.webhook_at,
        copies=[CopyLine(**{**one, "read_at": _time(one["read_at"])}) for one in read.copies or ()],
        budget=read_api_budget(connection, account, gaps.as_of),
        backfills=[_backfill(dict(row)) for row in rows],
        poll_due=poll_due(gaps.as_of),
        latency=read_latency(connection, account, gaps.as_of),
    )


def _resources(read: Any, polled: Sequence[str], gaps: GapReport) -> list[ResourceLine]:
    marks, looks = read.marks or {}, read.looks or {}
    lines = []
    for one in ALL:
        until, read_at = (_time(text) for text in marks.get(one.name) or [looks.get(one.name)] * 2)
        hole = next((hole for hole in gaps.holes if hole.is_open and one.name in hole.not_seen), None)
        if until is not None or one.name in polled:
            lines.append(ResourceLine(one.name, until, read_at, one.name in polled, hole))
        if one.name == "notes" and SWEPT in marks:
            swept, at = (_time(text) for text in marks[SWEPT])
            edits = next((h for h in gaps.holes if h.is_open and h.kind is HoleKind.NOTE_EDITS), None)
            lines.append(ResourceLine("edits of notes", swept, at, "notes" in polled, edits))
    return lines


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _backfill(row: Mapping[str, Any]) -> BackfillLine:
    told = {name: row[name] for name in BackfillLine.__dataclass_fields__ if name != "estimated"}
    estimate = row["estimate"]
    requests = 0 if estimate is None else msgspec.convert(estimate, Estimate).requests
    return BackfillLine(**{**told, "state": State(row["state"])}, estimated=requests)


# By the command that closes a hole: the job of the DAG that the page can start.
_JOBS: Final = {"poll": "poll", "ingest": "webhooks"}


def closing_job(hole: Hole) -> str | None:
    """Return the job whose DAG run closes a hole; None if a person must decide."""
    return _JOBS.get(hole.closes.split()[1])


def reads_all_notes(hole: Hole) -> bool:
    """Return whether only a poll that reads all notes closes a hole."""
    return "--full" in hole.closes


def backfill_days(hole: Hole) -> tuple[str, str] | None:
    """Return the first and the last day of the backfill that a hole proposes."""
    words = (hole.backfill or "").split()
    return None if not words else (words[words.index("--from") + 1], words[words.index("--to") + 1])


def render_freshness(page: FreshnessPage, frame: Frame) -> str:
    """Return the page."""
    account = page.gaps.account
    grave = any(hole.kind in _GRAVE for hole in page.open_holes)
    quiet = Tone.GOOD if page.gaps.polled else Tone.UNSURE
    return render_page(
        "freshness.html.j2",
        "enerflo_sync.pages",
        frame=frame,
        page=page,
        account=account,
        now=page.gaps.as_of,
        tone=Tone.BAD if grave else Tone.UNSURE if page.open_holes else quiet,
        detail=_detail(page),
        next_step=_next_step(page),
        here=frame.to.of(Place.FRESHNESS, account),
        inbox=frame.to.of(Place.INBOX, account),
        overview=frame.to.of(Place.OVERVIEW, account),
        closing_job=closing_job,
        reads_all_notes=reads_all_notes,
        backfill_days=backfill_days,
        duration=lambda span: duration(span),
        seconds=lambda value: duration(timedelta(seconds=value)),
        closed_shown=CLOSED_HOLES,
    )


def _detail(page: FreshnessPage) -> str:
    oldest, now = page.oldest, page.gaps.as_of
    said = []
    if oldest is not None and oldest.until is not None:
        said.append(
            f"The list that was read whole the longest ago is {oldest.name}, {_ago(now - oldest.until)}."
        )
    if page.gaps.silence:
        said.append(f"{page.gaps.silence} Check the sender and the receiver.")
    elif page.webhook_at is not None:
        said.append(f"The last webhook came {_ago(now - page.webhook_at)}.")
    return " ".join(said)


def _ago(span: timedelta) -> str:
    return "just now" if span < timedelta(minutes=1) else f"{duration(span)} ago"


def _next_step(page: FreshnessPage) -> str:
    if not page.open_holes:
        return "" if page.gaps.polled else "Switch the DAG of the poll on, or run `enerflo-sync poll`."
    # A record that nobody has seen comes before what lies in quarantine.
    first = min(page.open_holes, key=lambda hole: hole.kind not in _GRAVE)
    what = f"See what closes the {'gap' if page.gaps.open == 1 else 'gaps'} below, first `{first.closes}`."
    return what if closing_job(first) else "Decide in the inbox about what arrived and was not read."
