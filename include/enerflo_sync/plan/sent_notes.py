"""Notes at Enerflo that we may have sent from the CRM: a request was sent, and its outcome is not known.

Until the next push has searched for such a note, no note that may be the same becomes a new CRM row. If no
push will search for it, because a person refused the CRM's note, because its row is marked as deleted, or
because nothing is written to Enerflo any more, the note becomes a question.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.templates import filled
from enerflo_sync.outbox.changes import SENT_AND_UNNAMED
from enerflo_sync.outbox.kept import is_alike, made_since
from enerflo_sync.outbox.links import LinkState, link_state
from enerflo_sync.reconcile.compare import Comparison

_MAY_BE_OURS = "it may be the CRM's own note"
_MARKED = "its row in the CRM is marked as deleted (deleted_when)"
_KEPT_BACK = f"{_MAY_BE_OURS}, whose request was sent: the next push looks for it"

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

_NEW = sa.text("""
/* enerflo-sync plan: notes that would become rows of the CRM */
select distinct n.note_id, n.install_id, n.body, to_jsonb(n.created_at) #>> '{}' as created_at
from pg_temp.decided d
join enerflo.notes n on n.account = :account and n.note_id = (d.enerflo_key ->> 'note_id')::bigint
where d.table_name = :table and d.op = 'insert' and d.outcome = 'to_crm'
  and n.install_id = any(:installs)
""").bindparams(sa.bindparam("installs", type_=sa.ARRAY(sa.BigInteger)))

_MAKE_KEPT = """
/* enerflo-sync plan: notes that may be the CRM's own, each with the rows of the CRM that it may be */
create temporary table if not exists kept_notes (table_name text, note_id bigint, key jsonb, why text)
  on commit drop
"""
_FORGET_KEPT = sa.text("""
/* enerflo-sync plan: what an earlier look in the transaction kept */
delete from pg_temp.kept_notes where table_name = :table
""")
_ADD_KEPT = sa.text("""
/* enerflo-sync plan: notes that may be the CRM's own, each with the rows of the CRM that it may be */
insert into pg_temp.kept_notes values (:table, :note_id, :key, :why)
""").bindparams(sa.bindparam("key", type_=JSONB))

_KEEP = sa.text("""
/* enerflo-sync plan: notes that may be the CRM's own */
update pg_temp.decided d set outcome = 'keep', reason = :reason
where d.table_name = :table and d.op = 'insert' and d.outcome = 'to_crm'
  and (d.enerflo_key ->> 'note_id')::bigint in (
    select note_id from pg_temp.kept_notes where table_name = :table)
""")

# A new record is one question, not one for each field. Its reason is the reason why the CRM's row is not
# sent.
_ASK = sa.text("""
/* enerflo-sync plan: notes that may be the CRM's own and that no push looks for are questions */
with lost as (
  select k.table_name, k.note_id, coalesce(min(c.reason), min(k.why)) as why from pg_temp.kept_notes k
  left join pg_temp.decided c on c.table_name = k.table_name and c.op = 'insert' and c.key = k.key
    and c.enerflo_key is null
  group by k.table_name, k.note_id having not coalesce(bool_or(c.outcome in ('to_enerflo', 'review')), false)
), first as (
  select min(d.ctid) as id, l.table_name, l.note_id, l.why
  from pg_temp.decided d
  join lost l on l.table_name = d.table_name and l.note_id = (d.enerflo_key ->> 'note_id')::bigint
  where d.op = 'insert' and d.outcome = 'keep'
  group by l.table_name, l.note_id, l.why
), others as (
  delete from pg_temp.decided d using first f
  where d.table_name = f.table_name and d.op = 'insert' and d.outcome = 'keep' and d.ctid <> f.id
    and (d.enerflo_key ->> 'note_id')::bigint = f.note_id
)
update pg_temp.decided d
set outcome = 'review', field = null, after = null, before = d.enerflo_key, source_value = null,
    reason = :ours || ', which was sent once and is not sent again ('
             || coalesce(f.why, 'it is not due any more')
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
    installs = {int(text) for row, _ in sent if (text := str(row["row"].get(install))).isdigit()}
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
        }
        for note in new
        for row, state in sent
        if _may_be(comparison, config, row, note, install)
    ]
    if kept:
        connection.execute(_ADD_KEPT, kept)
        connection.execute(_KEEP, {"table": comparison.name, "reason": _KEPT_BACK})


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
    if str(row.get(install)) != str(note["install_id"]) or not made_since(dict(note), sent["sent_at"]):
        return False
    body = next((name for name, field in comparison.mapping.fields.items() if field.enerflo == "body"), "")
    texts = (filled(config.writes.note.text, row), row.get(body))
    return any(is_alike(str(text), note["body"] or "") for text in texts if text is not None)
