"""A note that only Enerflo has and one that only the CRM has may be the same note: a person decides.

One side may show the text as HTML, or may have cut it. The plan neither calls such texts equal nor takes them
for two notes: it makes no CRM row of Enerflo's note, and sends no note of the CRM's row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.templates import template_sql
from enerflo_sync.outbox.changes import SENT_AND_UNNAMED
from enerflo_sync.outbox.kept import bare_text, may_be_one
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.conditions import difference_key

ALIKE = "it may be a note of the other side in another form (HTML, cut)"

# The outcome of each note tells on which side the plan would make it.
_ALONE = Template("""
/* enerflo-sync plan $name: notes that one side alone has, beside some of the other side */
with decided as materialized (
  select distinct on (key, enerflo_key) key, enerflo_key, outcome from pg_temp.decided
  where table_name = $table and op = 'insert'
), notes as (
  select o.owner as install, d.outcome, o.p1 as note_id, null::text as key, array[r.body] as texts
  from $mismatched o join enerflo.notes r on r.account = %(account)s and r.note_id = o.p1
  join decided d on d.enerflo_key = jsonb_build_object('note_id', o.p1)
  where o.in_enerflo and not o.in_crm
  union all
  select o.owner, d.outcome, null, d.key::text, array[t.$body::text, $written]
  from $mismatched o join $crm t on $on_key join decided d on d.enerflo_key is null and d.key = $key
  where o.in_crm and not o.in_enerflo and o.j1 is null
)
select n.* from notes n join (
  select install from notes group by install having count(note_id) between 1 and count(*) - 1
    and bool_or(outcome in ('to_crm', 'to_enerflo'))
) i using (install)
order by install
""")
_SENT = sa.text(f"""
/* enerflo-sync plan: notes of the CRM that a push looks for */
select distinct p.key::text from sync.plan_changes p where {SENT_AND_UNNAMED}
""").bindparams(sa.bindparam("notes", type_=sa.ARRAY(sa.Text)))  # noqa: S608 - a constant
_LOOKED_FOR = sa.text("""
/* enerflo-sync plan: notes that a push looks for, on either side */
select note_id, key::text as key from pg_temp.kept_notes where table_name = :table
""")

# A new record is one question, not one for each field.
_ASK = sa.text("""
/* enerflo-sync plan: notes that may be one of the other side are questions */
with asked as (
  select d.ctid, row_number() over () as nth from pg_temp.decided d
  where d.table_name = :table and d.op = 'insert'
    and case when :key is null then d.enerflo_key = cast(:enerflo_key as jsonb)
          else d.enerflo_key is null and d.key = cast(:key as jsonb) end
), others as (
  delete from pg_temp.decided d using asked a where d.ctid = a.ctid and a.nth > 1
)
update pg_temp.decided d
set outcome = 'review', field = null, after = null, before = cast(:enerflo_key as jsonb),
    source_value = cast(:key as jsonb), reason = :reason
from asked a where d.ctid = a.ctid and a.nth = 1
""").bindparams(sa.bindparam("key", type_=sa.Text), sa.bindparam("enerflo_key", type_=sa.Text))
_KEEP = sa.text("""
/* enerflo-sync plan: notes of Enerflo about which the CRM's row is asked */
update pg_temp.decided set outcome = 'keep', reason = :reason
where table_name = :table and op = 'insert' and outcome = 'to_crm'
  and enerflo_key = jsonb_build_object('note_id', cast(:note_id as bigint))
""")


def ask_about_alike_notes(
    connection: sa.Connection, comparison: Comparison, config: SyncConfig, account: str
) -> None:
    """Make questions in ``decided`` of notes that the plan would make, and that the other side may have.

    The question is about one note of each pair: the CRM's note if the plan would send it, else Enerflo's
    note. Notes that a push looks for are left out. Call this after all other decisions about notes.
    """
    body = next((name for name, one in comparison.mapping.fields.items() if one.enerflo == "body"), None)
    if comparison.kind != RecordKind.NOTES or comparison.mapping.joined_by_key or body is None:
        return
    asked: list[dict[str, Any]] = []
    kept: list[int] = []
    for mine, theirs in _of_each_install(connection, comparison, config, account, body):
        for row in theirs:
            alike = [note for note in mine if _is_to_be_asked(note, row)]
            if not alike:
                continue
            ids = ", ".join(str(note["note_id"]) for note in alike)
            reason = (
                f"{ALIKE}: note {ids} of Enerflo. Put its id into the CRM's row, or, where these are two,"
                " make a row with that id in the CRM"
            )
            if row["outcome"] == "to_enerflo":
                asked.append({"key": row["key"], "enerflo_key": None, "reason": reason})
                kept += [note["note_id"] for note in alike]
            else:
                asked += [
                    {"key": None, "enerflo_key": json.dumps({"note_id": note["note_id"]}), "reason": reason}
                    for note in alike
                ]
    table = str(comparison.name)
    if asked:
        connection.execute(_ASK, [{"table": table, **one} for one in asked])
    if kept:
        connection.execute(_KEEP, [{"table": table, "note_id": one, "reason": ALIKE} for one in kept])


def _is_to_be_asked(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Return whether two notes may be one note, and the plan would make one of them on the other side."""
    return (mine["outcome"] == "to_crm" or theirs["outcome"] == "to_enerflo") and any(
        may_be_one(one, other) for one in theirs["bare"] for other in mine["bare"]
    )


def _of_each_install(
    connection: sa.Connection, comparison: Comparison, config: SyncConfig, account: str, body: str
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Yield, install by install, the notes that Enerflo alone has, and those that the CRM alone has."""
    live = comparison.live.columns
    statement = _ALONE.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        mismatched=comparison.mismatched,
        body=quoted(body),
        written=template_sql(
            config.writes.note.text,
            lambda column: f"t.{quoted(column)}::text" if column in live else "null::text",
        ),
        crm=comparison.crm_rows,
        on_key=" and ".join(
            f"t.{quoted(column)} = o.k{n}" for n, column in enumerate(comparison.mapping.key_columns, 1)
        ),
        key=difference_key(comparison),
    )
    note_ids, keys = _looked_for(connection, comparison, account)
    # A first plan may have very many notes on both sides.
    streaming = {"stream_results": True, "max_row_buffer": 1000}
    found = connection.exec_driver_sql(statement, {"account": account}, execution_options=streaming)
    for _, rows in groupby(found.mappings(), itemgetter("install")):
        notes = [{**row, "bare": [bare_text(text) for text in row["texts"] if text]} for row in rows]
        mine = [note for note in notes if note["note_id"] is not None and note["note_id"] not in note_ids]
        theirs = [note for note in notes if note["note_id"] is None and note["key"] not in keys]
        yield mine, theirs


def _looked_for(connection: sa.Connection, comparison: Comparison, account: str) -> tuple[set[int], set[str]]:
    """Return the notes that a push looks for: the ids of Enerflo's, and the keys of the CRM's as JSON."""
    names = {"account": account, "notes": [comparison.name], "table": str(comparison.name)}
    note_ids, keys = set[int](), set(connection.execute(_SENT, names).scalars())
    if connection.scalar(sa.text("select to_regclass('pg_temp.kept_notes') is not null")):
        for note in connection.execute(_LOOKED_FOR, names):
            note_ids.add(note.note_id)
            keys.add(note.key)
    return note_ids, keys
