"""Notes at Enerflo that we may have sent from the CRM.

There are two cases. A request was sent, and its outcome is not known. Or the plan would send a note of the
CRM for the first time, and Enerflo already has its whole text in some spelling: the warehouse may have been
set back to a time before we sent it.

Until the next push has searched for such a note, Enerflo's note becomes no new CRM row. If no push will
search for it, because a person refused the CRM's note, because its row is marked as deleted, or because
nothing is written to Enerflo any more, the note becomes a question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.templates import filled
from enerflo_sync.outbox.changes import SENT_AND_UNNAMED
from enerflo_sync.outbox.kept import is_alike, may_be_made_since, plain_form, stored_forms
from enerflo_sync.outbox.links import LinkState, link_state
from enerflo_sync.reconcile.compare import Comparison

_MAY_BE_OURS = "it may be the CRM's own note"
_MARKED = "its row in the CRM is marked as deleted (deleted_when)"
_KEPT_BACK = f"{_MAY_BE_OURS}, whose request was sent: the next push looks for it"
_SAME_TEXT = f"{_MAY_BE_OURS}, whose text it has: the next push looks for it"

_SENT = sa.text(f"""
/* enerflo-sync plan: notes whose request was sent and whose outcome is not known */
select key, min(sent_at) as sent_at, max(accepted_id) as accepted_id,
       jsonb_object_agg(field, after) as row
from (
  select distinct on (p.key, p.field) p.key, p.field, p.after, p.sent_at, p.accepted_id
  from sync.plan_changes p where {SENT_AND_UNNAMED}
  order by p.key, p.field, p.sent_at desc
) c group by key
""").bindparams(sa.bindparam("notes", type_=sa.ARRAY(sa.Text)))  # noqa: S608 - a constant

# Limited to installs that also have a new note at Enerflo: a first plan may send a hundred thousand notes.
_UNSENT = sa.text("""
/* enerflo-sync plan: notes of the CRM that are to be sent, beside a new note of Enerflo on their install */
with new as (
  select distinct n.install_id::text as install from pg_temp.decided d
  join enerflo.notes n on n.account = :account and n.note_id = (d.enerflo_key ->> 'note_id')::bigint
  where d.table_name = :table and d.op = 'insert' and d.outcome = 'to_crm'
), own as (
  select d.key from pg_temp.decided d
  where d.table_name = :table and d.op = 'insert' and d.outcome = 'to_enerflo' and d.field = :install
    and d.after #>> '{}' in (select install from new)
)
select d.key, jsonb_object_agg(d.field, d.after) as row from pg_temp.decided d join own using (key)
where d.table_name = :table and d.op = 'insert' and d.outcome = 'to_enerflo' and d.field is not null
group by d.key
""")

_NEW = sa.text("""
/* enerflo-sync plan: notes that would become rows of the CRM */
select distinct n.note_id, n.install_id, n.body, to_jsonb(n.created_at) #>> '{}' as created_at,
  to_jsonb(n.observed_at) #>> '{}' as observed_at
from pg_temp.decided d
join enerflo.notes n on n.account = :account and n.note_id = (d.enerflo_key ->> 'note_id')::bigint
where d.table_name = :table and d.op = 'insert' and d.outcome = 'to_crm'
  and n.install_id = any(:installs)
""").bindparams(sa.bindparam("installs", type_=sa.ARRAY(sa.BigInteger)))

_MAKE_KEPT = """
/* enerflo-sync plan: notes that may be the CRM's own, each with the rows of the CRM that it may be */
create temporary table if not exists kept_notes (table_name text, note_id bigint, key jsonb, why text,
  was_sent boolean) on commit drop
"""
_FORGET_KEPT = sa.text("""
/* enerflo-sync plan: what an earlier look in the transaction kept */
delete from pg_temp.kept_notes where table_name = :table
""")
_ADD_KEPT = sa.text("""
/* enerflo-sync plan: notes that may be the CRM's own, each with the rows of the CRM that it may be */
insert into pg_temp.kept_notes values (:table, :note_id, :key, :why, :was_sent)
""").bindparams(sa.bindparam("key", type_=JSONB))

_KEEP = sa.text("""
/* enerflo-sync plan: notes that may be the CRM's own */
update pg_temp.decided d set outcome = 'keep', reason = case when k.was_sent then :sent else :same end
from (select note_id, bool_or(was_sent) as was_sent from pg_temp.kept_notes where table_name = :table
      group by note_id) k
where d.table_name = :table and d.op = 'insert' and d.outcome = 'to_crm'
  and (d.enerflo_key ->> 'note_id')::bigint = k.note_id
""")

# A new record is one question, not one for each field. The reason is why the CRM's row is not sent.
_ASK = sa.text("""
/* enerflo-sync plan: notes that may be the CRM's own and that no push looks for are questions */
with lost as (
  select k.table_name, k.note_id, coalesce(min(c.reason), min(k.why)) as why,
    case when bool_or(k.was_sent) then ', which was sent once and is not sent again ('
      else ', which is not sent (' end as is_not
  from pg_temp.kept_notes k
  left join pg_temp.decided c on c.table_name = k.table_name and c.op = 'insert' and c.key = k.key
    and c.enerflo_key is null
  group by k.table_name, k.note_id having not coalesce(bool_or(c.outcome in ('to_enerflo', 'review')), false)
), first as (
  select min(d.ctid) as id, l.table_name, l.note_id, l.why, l.is_not
  from pg_temp.decided d
  join lost l on l.table_name = d.table_name and l.note_id = (d.enerflo_key ->> 'note_id')::bigint
  where d.op = 'insert' and d.outcome = 'keep'
  group by l.table_name, l.note_id, l.why, l.is_not
), others as (
  delete from pg_temp.decided d using first f
  where d.table_name = f.table_name and d.op = 'insert' and d.outcome = 'keep' and d.ctid <> f.id
    and (d.enerflo_key ->> 'note_id')::bigint = f.note_id
)
update pg_temp.decided d
set outcome = 'review', field = null, after = null, before = d.enerflo_key, source_value = null,
    reason = :ours || f.is_not || coalesce(f.why, 'it is not due any more')
             || '): put its id into the CRM''s row, or delete one of the two'
from first f where d.ctid = f.id
""")


def keep_sent_notes(
    connection: sa.Connection, comparison: Comparison, config: SyncConfig, account: str
) -> None:
    """Keep new notes in ``decided`` out of the plan if they may be a note that we sent from the CRM."""
    if comparison.kind != RecordKind.NOTES:
        return
    rows = connection.execute(_SENT, {"account": account, "notes": [comparison.name]}).mappings().all()
    states = [(row, _state(connection, comparison, row["key"])) for row in rows]
    sent = [(row, state) for row, state in states if state in (LinkState.OPEN, LinkState.MARKED)]
    install = comparison.mapping.install_column or ""
    unsent = _unsent(connection, comparison, account, install, [row["key"] for row in rows])
    texts = [str(row["row"].get(install)) for row in (*(row for row, _ in sent), *unsent)]
    installs = {int(text) for text in texts if text.isdigit()}
    if not installs:
        return
    named = {"account": account, "table": comparison.name, "installs": sorted(installs)}
    new = connection.execute(_NEW, named).mappings().all()
    connection.exec_driver_sql(_MAKE_KEPT)
    connection.execute(_FORGET_KEPT, {"table": comparison.name})
    kept = [
        {
            "table": comparison.name,
            "note_id": note["note_id"],
            "key": row["key"],
            "why": _MARKED if state is LinkState.MARKED else None,
            "was_sent": True,
        }
        for note in new
        for row, state in sent
        if _may_be(comparison, config, row, note, install)
    ]
    known = {one["note_id"] for one in kept}
    others = [note for note in new if note["note_id"] not in known]
    kept += [
        {"table": comparison.name, "note_id": note_id, "key": key, "why": None, "was_sent": False}
        for note_id, key in _of_one_text(comparison, config, unsent, others, install)
    ]
    if kept:
        connection.execute(_ADD_KEPT, kept)
        connection.execute(_KEEP, {"table": comparison.name, "sent": _KEPT_BACK, "same": _SAME_TEXT})


def _unsent(
    connection: sa.Connection,
    comparison: Comparison,
    account: str,
    install: str,
    sent: Sequence[Mapping[str, Any]],
) -> list[sa.RowMapping]:
    """Return the CRM's notes that are to be sent now for the first time."""
    if "to_enerflo" not in comparison.mode.writes:
        return []
    named = {"account": account, "table": comparison.name, "install": install}
    rows = connection.execute(_UNSENT, named).mappings()
    return [row for row in rows if row["key"] not in sent]


def _of_one_text(
    comparison: Comparison,
    config: SyncConfig,
    unsent: Sequence[sa.RowMapping],
    notes: Sequence[sa.RowMapping],
    install: str,
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield pairs of a note of Enerflo and a CRM row that the plan would send with the same whole text.

    Each note and each row is in at most one pair. Older notes come first, in the order of the push.
    """
    by_text: dict[tuple[str, str], list[int]] = {}
    for note in sorted(notes, key=lambda note: (note["created_at"] or "", note["note_id"])):
        by_text.setdefault((str(note["install_id"]), plain_form(note["body"] or "")), []).append(
            note["note_id"]
        )
    for row in unsent:
        forms = {form for text in _texts(comparison, config, row) for form in stored_forms(text)} - {""}
        for form in sorted(forms):
            if found := by_text.get((str(row["row"].get(install)), form)):
                yield found.pop(0), row["key"]
                break


def _state(connection: sa.Connection, comparison: Comparison, key: Mapping[str, Any]) -> LinkState:
    """Return the link state of the CRM's row; OPEN if its key has an older form and finds no row."""
    if set(comparison.mapping.key_columns) - key.keys():
        return LinkState.OPEN
    return link_state(connection, comparison, key)


def ask_about_sent_notes(connection: sa.Connection) -> None:
    """Make a question in ``decided`` of each kept note that no push will search for.

    It runs last, because it needs the final decision about each CRM row that may be sent.
    """
    if connection.scalar(sa.text("select to_regclass('pg_temp.kept_notes') is not null")):
        connection.execute(_ASK, {"ours": _MAY_BE_OURS})


def _may_be(
    comparison: Comparison, config: SyncConfig, sent: sa.RowMapping, note: sa.RowMapping, install: str
) -> bool:
    if sent["accepted_id"] is not None:
        return bool(sent["accepted_id"] == note["note_id"])
    row = {**sent["key"], **sent["row"]}
    if str(row.get(install)) != str(note["install_id"]) or not may_be_made_since(dict(note), sent["sent_at"]):
        return False
    return any(is_alike(text, note["body"] or "") for text in _texts(comparison, config, sent))


def _texts(comparison: Comparison, config: SyncConfig, note: sa.RowMapping) -> list[str]:
    """Return the texts that a note of the CRM may have at Enerflo: as it is sent, and its own."""
    row = {**note["key"], **note["row"]}
    body = next((name for name, field in comparison.mapping.fields.items() if field.enerflo == "body"), "")
    return [str(text) for text in (filled(config.writes.note.text, row), row.get(body)) if text is not None]
