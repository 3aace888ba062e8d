"""Notes of Enerflo that may be the CRM's own: their request went out, and nobody saw it arrive.

Until the next push has looked for such a note, nothing that may be it becomes a new row of the CRM.
"""

from __future__ import annotations

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import TableName
from enerflo_sync.crm.templates import filled
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.sync.push.kept import is_alike, made_since
from enerflo_sync.sync.push.links import LinkState, link_state

_KEPT_BACK = "it may be the CRM's own note, whose request was sent: the next push looks for it"

_SENT = sa.text("""
/* enerflo-sync plan: notes whose request went out and whose end is not known */
select key, min(sent_at) as sent_at, max(accepted_id) as accepted_id,
       jsonb_object_agg(field, after) as row
from (
  select distinct on (key, field) key, field, after, sent_at, accepted_id from sync.plan_changes
  where account = :account and table_name = 'notes' and op = 'insert' and sent_at is not null
    and state <> 'applied'
  order by key, field, sent_at desc
) c group by key
""")

_NEW = sa.text("""
/* enerflo-sync plan: notes that would become rows of the CRM */
select distinct n.note_id, n.install_id, n.body, to_jsonb(n.created_at) #>> '{}' as created_at
from pg_temp.decided d
join enerflo.notes n on n.account = :account and n.note_id = (d.enerflo_key ->> 'note_id')::bigint
where d.table_name = 'notes' and d.op = 'insert' and d.outcome = 'to_crm'
  and n.install_id = any(:installs)
""").bindparams(sa.bindparam("installs", type_=sa.ARRAY(sa.BigInteger)))

_KEEP = sa.text("""
/* enerflo-sync plan: notes that may be the CRM's own */
update pg_temp.decided d set outcome = 'keep', reason = :reason
where d.table_name = 'notes' and d.op = 'insert' and d.outcome = 'to_crm'
  and (d.enerflo_key ->> 'note_id')::bigint = any(:notes)
""").bindparams(sa.bindparam("notes", type_=sa.ARRAY(sa.BigInteger)))


def keep_sent_notes(connection: sa.Connection, plan: Comparison, config: SyncConfig, account: str) -> None:
    """Leave alone in ``decided`` what may be a note of the CRM whose request was sent."""
    if plan.name is not TableName.NOTES:
        return
    sent = [
        row
        for row in connection.execute(_SENT, {"account": account}).mappings()
        if link_state(connection, plan, row["key"]) is LinkState.OPEN
    ]
    install = plan.mapping.install_column or ""
    installs = {int(text) for row in sent if (text := str(row["row"].get(install))).isdigit()}
    if not installs:
        return
    new = connection.execute(_NEW, {"account": account, "installs": sorted(installs)}).mappings().all()
    own = [note["note_id"] for note in new if any(_may_be(plan, config, row, note, install) for row in sent)]
    if own:
        connection.execute(_KEEP, {"notes": own, "reason": _KEPT_BACK})


def _may_be(
    plan: Comparison, config: SyncConfig, sent: sa.RowMapping, note: sa.RowMapping, install: str
) -> bool:
    if sent["accepted_id"] is not None:
        return bool(sent["accepted_id"] == note["note_id"])
    row = {**sent["key"], **sent["row"]}
    if str(row.get(install)) != str(note["install_id"]) or not made_since(dict(note), sent["sent_at"]):
        return False
    body = next((name for name, field in plan.mapping.fields.items() if field.enerflo == "body"), "")
    texts = (filled(config.writes.note.text, row), row.get(body))
    return any(is_alike(str(text), note["body"] or "") for text in texts if text is not None)
