"""Key columns of the CRM that were renamed or changed their type: the stored keys are translated.

A key in ``sync.agreed`` consists of the names and values of the key columns. When a name or a type changes,
the stored keys match no row: agreed pairs are lost, and with them the evidence that a row was deleted or that
an undo removed it. So the columns are stored beside the pairs, keys are translated where the new key is
certain, and the next plan waits for a person.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from string import Template
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from enerflo_sync.counted import count_of
from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.names import jsonb_object, literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.join_columns import JoinColumn
from enerflo_sync.reconcile.judged_rows import names_record
from enerflo_sync.reconcile.values import WHOLE_TEXT

# A column's name, the JSON type of its values, and the mirror's column that it is matched with.
Column = Sequence[str | None]
Columns = Mapping[str, Sequence[Column]]

_STORED = sa.text("""
/* enerflo-sync plan: by which columns the pairs of a table are stored */
select columns, columns_before, changed_at, rows_lost from sync.agreed_keys
where account = :account and table_name = :table
""")
_SAMPLE = sa.text("""
/* enerflo-sync plan: the key of any pair */
select key from sync.agreed where account = :account and table_name = :table limit 1
""")
_STORE = sa.text("""
/* enerflo-sync plan: by which columns the pairs of a table are stored now */
insert into sync.agreed_keys (account, table_name, columns, columns_before, changed_at, rows_lost)
values (:account, :table, :columns, :before, case when :lost >= 0 then now() end, nullif(:lost, -1))
on conflict (account, table_name) do update
set columns = excluded.columns, columns_before = excluded.columns_before, changed_at = excluded.changed_at,
    rows_lost = excluded.rows_lost
""").bindparams(
    sa.bindparam("columns", type_=JSONB),
    sa.bindparam("before", type_=JSONB(none_as_null=True)),
    sa.bindparam("lost", type_=sa.BigInteger),
)
_CHANGED = sa.text("""
/* enerflo-sync plan: key columns that changed since a person last approved */
select table_name, columns, columns_before, rows_lost from sync.agreed_keys
where account = :account and columns_before is not null order by table_name
""")
_APPROVED = sa.text("""
/* enerflo-sync plan: whether a person applied a plan that named this reason to wait */
select exists (select from sync.plans where account = :account and state = 'applied' and change_count > 0
               and created_at >= :since and reasons @> :reasons)
""").bindparams(sa.bindparam("reasons", type_=JSONB))

# A key is translated only if it gives exactly one new key that no other stored key gives.
_MOVED_KEYS = Template("""
/* enerflo-sync plan $name: what the keys of pairs are now */
create temporary table moved_keys on commit drop as
select old_key, new_key, record from (
  select n.*, count(*) over (partition by old_key) as news, count(*) over (partition by new_key) as olds
  from ($found) n where n.new_key = n.old_key or not exists (
    select from sync.agreed b where b.account = %(account)s and b.table_name = $table and b.key = n.new_key)
) n where news = 1 and olds = 1
""")
_BY_RECORD = Template("""select a.key as old_key, $new_key as new_key, a.record
  from (select distinct key, $record_of_pair as record from sync.agreed a
        where a.account = %(account)s and a.table_name = $table and not jsonb_exists(a.key, '')) a
  join $mirror e on e.account = %(account)s and $on""")
_BY_ROW = Template("""select distinct a.key as old_key, $new_key as new_key, a.record
  from (select distinct key, $record_of_pair as record from sync.agreed a
        where a.account = %(account)s and a.table_name = $table) a
  join $crm t on $on
  where a.record is null or $same_record""")
_MOVE = Template("""
/* enerflo-sync plan $name: keys in their new form */
update sync.$target a set key = n.new_key$record from pg_temp.moved_keys n
where a.account = %(account)s and a.table_name = $table and a.key = n.old_key$which
""")
# A row is the same row if its key columns hold the same texts, even under other column names.
_KEYS_OF_ROWS = Template("""
/* enerflo-sync plan $name: keys of $what, in their new form */
update sync.$target r set key = $new_key from $crm t
where r.account = %(account)s and r.table_name = $table and $which and $on
""")
# Other rows, beside agreed pairs, that must stay findable by the key of their CRM row.
_UNDER_KEYS = (
    ("refusals", "r.ended_at is null", "what a person refused"),
    (
        "plan_changes",
        "r.sent_at is not null and r.confirmed is null and r.state <> 'applied'",
        "what was sent and is not confirmed",
    ),
)
_LINKS = Template("""
/* enerflo-sync plan $name: links in their new form */
update sync.agreed a set field = $new, value = $value
where a.account = %(account)s and a.table_name = $table and a.is_link and a.field = $old
  and not exists (select from sync.agreed b where b.account = a.account and b.table_name = a.table_name
                  and b.key = a.key and b.field = $new and b.field <> a.field)
""")
_LOST = Template("""
/* enerflo-sync plan $name: rows whose pairs are not found any more */
select count(distinct a.key) from sync.agreed a
where a.account = %(account)s and a.table_name = $table and not ($fits) and not jsonb_exists(a.key, '')
""")


def follow_keys(connection: sa.Connection, comparisons: Iterable[Comparison], account: str) -> None:
    """Translate the stored keys of tables whose key columns changed, where the new key is certain.

    The change is kept until a person applies a plan that names it as a reason to wait
    (:func:`key_change_reasons`).
    """
    for comparison in comparisons:
        named = {"account": account, "table": str(comparison.name)}
        present = columns_of(comparison)
        stored = connection.execute(_STORED, named).mappings().first()
        before = stored["columns"] if stored is not None else _of_sample(connection, comparison, named)
        if before is None or before == present:
            _remember(connection, named, stored, present)
            continue
        _translate(connection, comparison, account, before, in_order=stored is not None)
        lost = connection.exec_driver_sql(
            _LOST.substitute(
                name=comparison.name, table=literal(comparison.name), fits=_fits(present["key"])
            ),
            {"account": account},
        ).scalar_one()
        first = (stored["columns_before"] if stored is not None else None) or before
        connection.execute(_STORE, {**named, "columns": present, "before": first, "lost": lost})


def key_change_reasons(connection: sa.Connection, account: str) -> list[tuple[str, str]]:
    """Return each table whose changed key columns nobody has approved yet, with the sentence for the plan."""
    rows = connection.execute(_CHANGED, {"account": account}).mappings()
    return [(row["table_name"], _sentence(row["table_name"], row)) for row in rows]


def was_approved(connection: sa.Connection, account: str, sentence: str, since: datetime | str) -> bool:
    """Return whether a person applied a plan that was made since then and named this reason to wait."""
    said = {"account": account, "reasons": [sentence], "since": since}
    return bool(connection.scalar(_APPROVED, said))


def columns_of(comparison: Comparison) -> Columns:
    """Return the columns that make the table's stored keys, and the columns by which its rows are matched."""
    joins = comparison.mapping.join_columns

    def column(name: str) -> list[str | None]:
        kind = comparison.live.columns[name].kind
        number = kind in {Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT}
        return [name, "number" if number else str(kind), joins.get(name)]

    def link(join: JoinColumn) -> list[str | None]:
        if join.options is None:
            return column(join.crm_name)
        return [join.crm_name, "number" if join.type == "bigint" else "text", join.mirror_name]

    return {
        "key": [column(name) for name in comparison.mapping.key_columns],
        "join": [link(join) for join in comparison.links],
    }


def _remember(
    connection: sa.Connection, named: dict[str, str], stored: sa.RowMapping | None, present: Columns
) -> None:
    """Store the present columns; drop the note of a change once a person applied a plan that named it."""
    if stored is None:
        connection.execute(_STORE, {**named, "columns": present, "before": None, "lost": -1})
    elif stored["columns_before"] is not None:
        sentence = _sentence(named["table"], stored)
        if was_approved(connection, named["account"], sentence, stored["changed_at"]):
            connection.execute(_STORE, {**named, "columns": present, "before": None, "lost": -1})


def _of_sample(connection: sa.Connection, comparison: Comparison, named: dict[str, str]) -> Columns | None:
    """Return the columns of a stored key, for pairs of a version that did not store the columns.

    Returns None if they are the present columns, or if there is no pair.
    """
    key = connection.scalar(_SAMPLE, named)
    present = columns_of(comparison)
    kinds = {name: kind for name, kind, _ in present["key"]}
    if key is None:
        return None
    found = {name: "number" if isinstance(value, int | float) else "text" for name, value in key.items()}
    same = found.keys() == kinds.keys()
    if same and all((found[name] == "number") is (kinds[name] == "number") for name in found):
        return None
    joins = comparison.mapping.join_columns
    return {"key": [[name, kind, joins.get(name)] for name, kind in found.items()], "join": present["join"]}


def _sentence(table: str, row: Mapping[str, Any] | sa.RowMapping) -> str:
    lost = row["rows_lost"] or 0
    rest = (
        f"the agreed values of {count_of(lost, 'row')} are not found any more"
        if lost
        else "all agreed values moved along"
    )
    return (
        f"The key columns of {table} changed from {_described(row['columns_before'])}"
        f" to {_described(row['columns'])}: {rest}."
    )


def _described(columns: Columns) -> str:
    key, join = (
        ", ".join(f"{name} ({kind}{f', {mirror}' if mirror else ''})" for name, kind, mirror in columns[part])
        for part in ("key", "join")
    )
    return f"{key}, matched by {join}" if join else key


def _translate(
    connection: sa.Connection, comparison: Comparison, account: str, before: Columns, *, in_order: bool
) -> None:
    former = _former_names(comparison, before, in_order)
    values = {"account": account}
    common = {"name": comparison.name, "table": literal(comparison.name)}
    found = _found(comparison, before, former)
    if found:
        connection.exec_driver_sql("drop table if exists pg_temp.moved_keys")
        connection.exec_driver_sql(_MOVED_KEYS.substitute(common, found=found), values)
        # If the key is the record's id, the pair does not store that id again.
        record = ", enerflo_key = null" if comparison.key_is_record else ", enerflo_key = n.record"
        of_record = " and (a.enerflo_key is null or a.enerflo_key = n.record)"
        connection.exec_driver_sql(
            _MOVE.substitute(common, target="agreed", record=record, which=of_record), values
        )
        for target, which in (("agreed_twins", ""), ("own_writes", " and a.side = 'crm'")):
            connection.exec_driver_sql(
                _MOVE.substitute(common, target=target, record="", which=which), values
            )
    if former:
        row = {
            "crm": comparison.crm,
            "new_key": _key_of_row(comparison),
            "on": _same_texts(comparison, former, "r.key"),
        }
        for target, which, what in _UNDER_KEYS:
            statement = _KEYS_OF_ROWS.substitute(common, **row, target=target, which=which, what=what)
            connection.exec_driver_sql(statement, values)
    for old, new, kind in _moved_links(before, columns_of(comparison)):
        value = "to_jsonb(a.value #>> '{}')"
        if kind == "number":
            whole = f"a.value #>> '{{}}' ~ {literal(WHOLE_TEXT)}"
            value = f"case when {whole} then to_jsonb((a.value #>> '{{}}')::numeric) else a.value end"
        statement = _LINKS.substitute(common, old=literal(old), new=literal(new), value=value)
        connection.exec_driver_sql(statement, values)


def _found(comparison: Comparison, before: Columns, former: Sequence[str]) -> str:
    """Return the select of old keys, new keys and record keys; empty if new keys cannot be determined.

    If the CRM's key consists of columns of the mirror, the new key comes from the record; otherwise from the
    CRM row whose key columns hold the same texts.
    """
    record = _record_of_pair(comparison, before)
    common = {
        "table": literal(comparison.name),
        "record_of_pair": record,
        "mirror": comparison.mirror,
        "crm": comparison.crm,
    }
    # A key that may be spelled in several ways must come from its row, which has the spelling.
    if comparison.mapping.joined_by_key and not comparison.links:
        return _BY_RECORD.substitute(
            common,
            new_key=jsonb_object(
                (join.crm_name, join.as_stored(f"({join.mirror})::{join.type}")) for join in comparison.joins
            ),
            on=" and ".join(
                f"e.{quoted(name)} = (a.record ->> {literal(name)})::bigint" for name in comparison.mirror_key
            ),
        )
    if not former:
        return ""
    return _BY_ROW.substitute(
        common,
        new_key=_key_of_row(comparison),
        on=_same_texts(comparison, former, "a.key"),
        same_record=names_record(comparison, "t", "a.record"),
    )


def _key_of_row(comparison: Comparison) -> str:
    return comparison.crm_key(f"t.{quoted(name)}" for name in comparison.mapping.key_columns)


def _former_names(comparison: Comparison, before: Columns, in_order: bool) -> Sequence[str]:
    """Return the former name of each key column, in the present order; empty if it is ambiguous.

    It is ambiguous if a column now has the former name of another key column. If the former order is not
    known, a column that kept its name is the same column, and at most one other column may have been renamed.
    """
    names, former = comparison.mapping.key_columns, [str(name) for name, _, _ in before["key"]]
    if len(names) != len(former):
        return []
    if not in_order:
        others = [name for name in former if name not in names]
        return [name if name in former else others[0] for name in names] if len(others) < 2 else []
    moved = any(new != old and new in former for new, old in zip(names, former, strict=True))
    return [] if moved else former


def _same_texts(comparison: Comparison, former: Sequence[str], key: str) -> str:
    """Return the condition that a CRM row ``t`` holds the texts of a key that has the former column names."""
    pairs = zip(comparison.mapping.key_columns, former, strict=True)
    return " and ".join(f"t.{quoted(new)}::text = {key} ->> {literal(old)}" for new, old in pairs)


def _record_of_pair(comparison: Comparison, before: Columns) -> str:
    """Return the mirror key of a pair ``a``: its ``enerflo_key``, or the ids that its key held before."""
    named = {mirror: str(name) for name, _, mirror in before["key"] if mirror}
    if not set(comparison.mirror_key) <= named.keys():
        return "a.enerflo_key"
    texts = {mirror: f"a.key ->> {literal(named[mirror])}" for mirror in comparison.mirror_key}
    whole = " and ".join(f"{text} ~ {literal(WHOLE_TEXT)}" for text in texts.values())
    made = jsonb_object((mirror, f"({text})::bigint") for mirror, text in texts.items())
    return f"coalesce(a.enerflo_key, case when {whole} then {made} end)"


def _moved_links(before: Columns, present: Columns) -> Iterator[tuple[str, str, str]]:
    """Yield links that were renamed or changed their JSON type: old name, new name, new JSON type."""
    known = {mirror: (str(name), kind) for name, kind, mirror in before["join"]}
    for name, kind, mirror in present["join"]:
        old = known.get(mirror)
        if old is not None and old != (name, kind):
            yield old[0], str(name), str(kind)


def _fits(key: Sequence[Column]) -> str:
    """Return the condition that the key of a pair ``a`` consists of these columns."""
    conditions = [f"jsonb_exists(a.key, {literal(str(name))})" for name, _, _ in key]
    conditions += [
        f"(jsonb_typeof(a.key -> {literal(str(name))}) = 'number') is {str(kind == 'number').lower()}"
        for name, kind, _ in key
    ]
    return " and ".join(conditions)
