"""The details of each inbox entry: in words, with samples, and with a link to all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.addresses import Addresses, Place
from enerflo_sync.counted import number
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.inbox.quarantine import next_step
from enerflo_sync.inbox.quarantine_items import SEEN_ITEMS
from enerflo_sync.pages.plan_lines import MOST_COUNTED, many_words
from enerflo_sync.pages.records import record_address
from enerflo_sync.pages.waiting import EntryKind, InboxEntry, entry_values
from enerflo_sync.plan.parts import has_personal_key
from enerflo_sync.plan.questions import NEWEST, QuestionGroup, question_groups
from enerflo_sync.plan.reads import read_named_plans
from enerflo_sync.plan.render.shown_plan import headline
from enerflo_sync.plan.retry import PARKED
from enerflo_sync.reconcile.record import singular
from enerflo_sync.reconcile.render.cause_texts import CAUSES
from enerflo_sync.reconcile.render.wording import key_values, utc
from enerflo_sync.reconcile.report import Cause
from enerflo_sync.reconcile.store import Classes, masked_key, personal_data_classes
from enerflo_sync.resources.registry import KINDS

SAMPLES: Final = 3

# Each count follows an index, so that only counted rows are read.
_QUARANTINED = sa.text(f"""
/* enerflo-sync pages: samples of quarantine groups */
select g.name, c.n, c.seen, e.* from unnest(cast(:names as text[])) g(name)
cross join lateral (select count(*) as n, {SEEN_ITEMS} as seen from (
  select item_id from sync.quarantine where account = :account and state = 'open' and fingerprint = g.name
  order by first_seen_at limit :most) counted) c
cross join lateral (
  select item_id, kind, reason, table_name, key, evidence_uri from sync.quarantine
  where account = :account and state = 'open' and fingerprint = g.name
  order by first_seen_at limit :samples) e
""")  # noqa: S608 - a constant

# The check's own words about one order of each group.
_FAILING = sa.text("""
/* enerflo-sync pages: why orders are held */
select i.name, (
  select string_agg(rtrim(r.reason, '.'), '; ' order by array_position(f.failing, r.check_id))
  from sync.change_order_facts f
  join sync.quality_results r on r.account = f.account and r.run_id = f.run_id
    and r.change_order_id = f.change_order_id and not r.passed and r.severity = 'hold'
  where f.account = :account and f.change_order_id = i.change_order_id) as why
from unnest(cast(:names as text[]), cast(:orders as bigint[])) i(name, change_order_id)
""")

_PARKED = sa.text(f"""
/* enerflo-sync pages: samples of parked changes */
select * from (
  select p.*, count(*) over (partition by fingerprint) as n,
         row_number() over (partition by fingerprint, key order by ledger_id) as of_record,
         dense_rank() over (partition by fingerprint order by key) as nth
  from ({PARKED}) p where fingerprint = any(:names)) p
where nth <= :samples and of_record = 1 order by fingerprint, nth
""").bindparams(sa.bindparam("since", type_=sa.Interval), sa.bindparam("writes", type_=JSONB))  # noqa: S608

_LATE = sa.text("""
/* enerflo-sync pages: samples of changes that are late */
select t.table_name as name, c.n, c.taken, e.*, t.late_hours
from jsonb_to_recordset(cast(:handed_to as jsonb)) t(table_name text, late_hours float)
cross join lateral (select count(*) as n, count(acknowledged_at) as taken from (
  select acknowledged_at from sync.crm_changes
  where account = :account and table_name = t.table_name and ended_at is null and state = 'open'
    and coalesce(acknowledged_at, made_at) <= now() - make_interval(secs => t.late_hours * 3600)
  order by coalesce(acknowledged_at, made_at) limit :most) counted) c
cross join lateral (
  select key, plan_hash from sync.crm_changes
  where account = :account and table_name = t.table_name and ended_at is null and state = 'open'
    and coalesce(acknowledged_at, made_at) <= now() - make_interval(secs => t.late_hours * 3600)
  order by coalesce(acknowledged_at, made_at) limit :samples) e
where t.table_name = any(:names)
""").bindparams(sa.bindparam("handed_to", type_=JSONB))

_ASKED = sa.text(f"""
/* enerflo-sync pages: the groups of questions of the newest plan */
select plan_hash, jsonb_build_object('questions', summary -> 'questions') as summary from ({NEWEST}) p
""")  # noqa: S608 - a constant

_QUESTIONS = sa.text("""
/* enerflo-sync pages: samples of questions */
select g.name, e.key
from jsonb_to_recordset(cast(:groups as jsonb)) g(name text, table_name text, field text, first bigint)
cross join lateral (
  select key from sync.plan_undecided u
  where u.account = :account and u.plan_hash = :plan_hash and u.position >= g.first
    and u.position < g.first + 1000 and u.table_name = g.table_name and u.field is not distinct from g.field
    and u.refusal_id is null
  order by u.position limit :samples) e
""").bindparams(sa.bindparam("groups", type_=JSONB))

_REFUSED = sa.text("""
/* enerflo-sync pages: samples of what stands refused */
select g.name, c.n, e.* from unnest(cast(:names as text[])) g(name)
cross join lateral (select count(*) as n from (
  select from sync.refusals where account = :account and ended_at is null and plan_hash = g.name
  order by decided_at limit :most) counted) c
cross join lateral (
  select table_name, key, decided_by, decided_at, reason from sync.refusals
  where account = :account and ended_at is null and plan_hash = g.name
  order by decided_at limit :samples) e
""")


@dataclass(frozen=True)
class Sample:
    """One record of an entry; ``address`` is None if the key holds personal data or names no record."""

    name: str
    address: str | None


@dataclass(frozen=True)
class Told:
    """The details of one entry.

    :param many: how many items it has; "1,000+" if more were not counted.
    :param title: the rest of the sentence; :param leads_to: the page with all items.
    :param seen: for a group of quarantined items: the open items as a form returns them; empty if there are
        too many.
    """

    many: str
    title: str
    why: str
    todo: str
    samples: Sequence[Sample]
    leads_to: str
    leads_with: str
    seen: str = ""


class _Teller:
    """Reads the details of entries, with one statement per kind."""

    def __init__(self, connection: sa.Connection, config: SyncConfig, account: str, to: Addresses) -> None:
        self.connection = connection
        self.config = config
        self.account = account
        self.to = to
        self.tables = config.tables_for(account)
        self.classes: Classes = personal_data_classes(self.tables)
        self.values = {"account": account, "samples": SAMPLES, "most": MOST_COUNTED + 1}

    def sample(self, table: str, key: Mapping[str, Any]) -> Sample:
        mapping = self.tables.get(table)
        hidden = masked_key(table, key, self.classes)
        address = None
        if mapping is not None and not has_personal_key(mapping):
            address = record_address(self.to, self.account, self.tables, table, key)
        columns = () if mapping is None else mapping.key_columns
        ordered = {name: hidden[name] for name in (*columns, *hidden) if name in hidden}
        return Sample(f"{table} {key_values(ordered)}", address)

    def grouped(
        self, statement: sa.TextClause, names: Sequence[str], **more: Any
    ) -> Iterator[tuple[str, list[Any]]]:
        rows = self.connection.execute(statement, {**self.values, "names": list(names), **more}).all()
        for name, found in groupby(rows, key=lambda row: str(row.name)):
            yield name, list(found)

    def quarantined(self, names: Sequence[str], kind: EntryKind) -> Iterator[tuple[str, Told]]:
        found = dict(self.grouped(_QUARANTINED, names))
        failing = self._failing(found) if kind is EntryKind.HELD else {}
        for name, rows in found.items():
            one = rows[0]
            many = many_words(one.n)
            noun = "change order" if kind is EntryKind.HELD else one.kind
            plural = "" if one.n == 1 else "s"
            held = kind is EntryKind.HELD
            checks = one.reason.partition(" at ")[2]
            what = (failing.get(name) or one.reason) if held else one.reason
            yield (
                name,
                Told(
                    many=many,
                    title=f"{noun}{plural} {'held back' if held else 'not ingested'}: {what}",
                    why=f"Fails {checks}." if held else "",
                    todo=next_step(one.kind, one.reason),
                    samples=[self._item(row) for row in rows],
                    leads_to=f"{self.to.of(Place.INBOX, self.account)}/{name}",
                    leads_with="All of them",
                    seen=one.seen if one.n <= MOST_COUNTED else "",
                ),
            )

    def _failing(self, found: Mapping[str, Sequence[Any]]) -> dict[str, str]:
        orders = {name: rows[0].key["change_order_id"] for name, rows in found.items() if rows[0].key}
        values = {"account": self.account, "names": list(orders), "orders": list(orders.values())}
        return {row.name: row.why for row in self.connection.execute(_FAILING, values)}

    def _item(self, row: Any) -> Sample:
        return item_sample(self.to, self.account, row)

    def plans(self, names: Sequence[str]) -> Iterator[tuple[str, Told]]:
        for plan in read_named_plans(self.connection, self.account, names):
            yield (
                plan.plan_hash,
                Told(
                    many="1",
                    title=f"{'undo' if plan.kind == 'undo' else 'plan'} waits for approval: {headline(plan)}",
                    why=" ".join(plan.reasons),
                    todo="Look at it, then approve it, a part of it, or reject it;"
                    f" until {utc(plan.expires_at)}.",
                    samples=[],
                    leads_to=self.to.plan(self.account, plan.plan_hash),
                    leads_with="Look and decide",
                ),
            )

    def parked(self, names: Sequence[str]) -> Iterator[tuple[str, Told]]:
        values = entry_values(self.config, self.account)
        rows = self.connection.execute(_PARKED, {**self.values, **values, "names": list(names)}).all()
        for name, found in groupby(rows, key=lambda row: str(row.fingerprint)):
            several = list(found)
            one = several[0]
            what = f"{one.table_name}.{one.field}" if one.op == "update" else f"{one.op} of {one.table_name}"
            where = "in the CRM" if one.direction == "to_crm" else "at Enerflo"
            yield (
                name,
                Told(
                    many=number(one.n),
                    title=f"change{'' if one.n == 1 else 's'} not made {where}: {what}",
                    why=one.reason or "",
                    todo="Remove what stands in the way, then retry: the next plan has it again."
                    " A day after it failed it is planned by itself.",
                    samples=[self.sample(row.table_name, row.key) for row in several],
                    leads_to=self.to.plan(self.account, one.plan_hash),
                    leads_with="Its plan",
                ),
            )

    def late(self, names: Sequence[str]) -> Iterator[tuple[str, Told]]:
        for name, rows in self.grouped(_LATE, names, **entry_values(self.config, self.account)):
            one = rows[0]
            yield (
                name,
                Told(
                    many=many_words(one.n),
                    title=f"change{'' if one.n == 1 else 's'} of {name} handed over and not arrived",
                    why=f"{_taken(one.taken, one.n)}, and the copy does not show it within"
                    f" {one.late_hours:g} hours.",
                    todo="See whether the tool that carries changes runs and the copy is fresh."
                    " An undo of the plan takes back what was not taken over.",
                    samples=[self.sample(name, row.key) for row in rows],
                    leads_to=self.to.plan(self.account, one.plan_hash),
                    leads_with="Its plan",
                ),
            )

    def questions(self, names: Sequence[str]) -> Iterator[tuple[str, Told]]:
        plan = self.connection.execute(_ASKED, {"account": self.account}).one_or_none()
        if plan is None:
            return
        groups = {one.name: one for one in question_groups(plan.summary) if one.name in names}
        told = [
            {"name": one.name, "table_name": one.table_name, "field": one.field, "first": one.first}
            for one in groups.values()
        ]
        more = {"groups": told, "plan_hash": plan.plan_hash}
        samples = {
            name: [self.sample(groups[name].table_name, row.key) for row in rows]
            for name, rows in self.grouped(_QUESTIONS, [], **more)
        }
        for name, one in groups.items():
            yield name, self._question(one, plan.plan_hash, samples.get(name, []))

    def _question(self, one: QuestionGroup, plan_hash: str, samples: Sequence[Sample]) -> Told:
        what = f"{one.table_name}.{one.field}" if one.field else one.table_name
        return Told(
            many=number(one.questions),
            title=f"question{'' if one.questions == 1 else 's'} about {what}",
            why=one.reason,
            todo=CAUSES[Cause(one.cause)].what_to_do if one.cause in CAUSES else "",
            samples=samples,
            leads_to=f"{self.to.plan(self.account, plan_hash)}?group={one.name}",
            leads_with="All of them",
        )

    def refused(self, names: Sequence[str]) -> Iterator[tuple[str, Told]]:
        for name, rows in self.grouped(_REFUSED, names):
            one = rows[0]
            yield (
                name,
                Told(
                    many=many_words(one.n),
                    title=f"change{' stays' if one.n == 1 else 's stay'} refused",
                    why=f"By {one.decided_by} on {utc(one.decided_at)}"
                    f"{f': {one.reason}' if one.reason else ''}.",
                    todo="Nothing, if it is still right. Reopened, the next plan has what is still due.",
                    samples=[self.sample(row.table_name, row.key) for row in rows],
                    leads_to=self.to.plan(self.account, name),
                    leads_with="Its plan",
                ),
            )


def _taken(taken: int, changes: int) -> str:
    if not taken:
        return "Nothing took it over"
    # Of very many changes not all are counted.
    some = "some" if changes > MOST_COUNTED else number(taken)
    return "A tool took it over" if taken == changes else f"A tool took {some} of them over"


def tell(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    to: Addresses,
    entries: Sequence[InboxEntry],
) -> Mapping[InboxEntry, Told]:
    """Return the details of entries, masked; an entry that was resolved meanwhile is left out."""
    teller = _Teller(connection, config, account, to)
    found: dict[InboxEntry, Told] = {}
    for kind in EntryKind:
        of_kind = {entry.name: entry for entry in entries if entry.kind is kind}
        if of_kind:
            told = _told(teller, kind, list(of_kind))
            found |= {of_kind[name]: one for name, one in told if name in of_kind}
    return found


def _told(teller: _Teller, kind: EntryKind, names: Sequence[str]) -> Iterator[tuple[str, Told]]:
    match kind:
        case EntryKind.QUARANTINE | EntryKind.HELD:
            return teller.quarantined(names, kind)
        case EntryKind.PLAN:
            return teller.plans(names)
        case EntryKind.PARKED:
            return teller.parked(names)
        case EntryKind.LATE:
            return teller.late(names)
        case EntryKind.QUESTION:
            return teller.questions(names)
        case EntryKind.REFUSED:
            return teller.refused(names)


def item_sample(to: Addresses, account: str, row: Any) -> Sample:
    """Return a quarantined item as a sample: its record if one is known, otherwise its id."""
    key = row.key or {}
    if row.table_name in _RECORDS and len(key) == 1:
        kind, (number_of,) = _RECORDS[row.table_name], key.values()
        return Sample(f"{kind} {number_of}", to.record(account, kind, f"enerflo:{number_of}"))
    return Sample(f"item {row.item_id[:12]}", None)


# The word for one record of Enerflo's lists.
_RECORDS: Final = {one.name: singular(kind) for kind, (one, part) in KINDS.items() if part.owner is None}
