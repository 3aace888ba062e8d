"""Finds the rows about one customer's records in tables of ``sync``, and erases their personal values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.mapping import MIRROR_TABLES
from enerflo_sync.mirror.forgotten import Forgotten, personal_columns
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.forgotten import hidden_columns, records_of
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata

_KEYS = Template("""
/* enerflo-sync forget $name: the CRM's keys of a customer's records */
select distinct key::text from (
  select $crm_key as key from $crm t join $mirror e on $same where e.account = :account and $owned
  union all
  select key from sync.agreed
  where account = :account and table_name = any(:tables) and enerflo_key ->> cast(:id as text) = any(:ids)
  union all
  select key from sync.plan_changes
  where account = :account and table_name = any(:tables) and enerflo_key ->> cast(:id as text) = any(:ids)
) k
""")
_IDS = Template("""
/* enerflo-sync forget $name: a customer's records */
select distinct e.$id::text from $mirror e where e.account = :account and $owned
""")

_UNMAPPED = sa.text("""
/* enerflo-sync forget: names of tables that are not mapped any more */
select table_name from (
  select account, table_name from sync.ledger
  union select account, table_name from sync.plan_changes
  union select account, table_name from sync.plan_undecided
  union select account, table_name from sync.refusals
  union select account, table_name from sync.crm_changes
  union select account, table_name from sync.differences
  union select account, table_name from sync.agreed
) t where account = :account and table_name <> all(:mapped) order by 1
""")

# Only values of fields that are known to be harmless stay: a field that is not mapped any more may have held
# personal data.
_CLEAN = """case when {field} is not null then case when {field} = any(:harmless) then {value} end
    when jsonb_typeof({value}) = 'object' then (
      select coalesce(jsonb_object_agg(v.key, v.value), '{{}}') from jsonb_each({value}) v
      where v.key = any(:harmless))
    else {value} end"""
_UPDATE = """
/* enerflo-sync forget: values of a customer's records */
update {table} t set {sets}
where t.account = :account and t.table_name = :table and ({of_customer}) and ({changes})
"""
# By statement: the column with the field's name, and the columns with values.
VALUES: dict[str, tuple[str, tuple[str, ...]]] = {
    "update sync.ledger": ("t.field", ("old_value", "new_value", "losing_value", "kept_value")),
    "update sync.plan_changes": ("t.field", ("before", "after", "source_value")),
    "update sync.plan_undecided": ("t.field", ("enerflo_value", "crm_value")),
    "update sync.refusals": ("t.field", ("before", "after", "source_value")),
    "update sync.crm_changes": ('t."column"', ("before", "after", "copy_value")),
}
# Tables whose rows have Enerflo's key beside the CRM's key.
HAS_RECORD = {"sync.plan_changes", "sync.refusals", "sync.crm_changes", "sync.agreed"}
_IS_THEIRS = "{row}.enerflo_key ->> cast(:id as text) = any(:ids)"
# Tables of which the change in the plan has the record, as long as the plan is kept.
_DECIDED = {"sync.ledger"}
_DECIDED_OF_ANOTHER = f"""exists (select from sync.plan_changes o
  where o.account = t.account and o.plan_hash = t.plan_hash and o.table_name = t.table_name and o.key = t.key
    and not {_IS_THEIRS.format(row="o")})"""
_UNPLANNED = """not exists (select from sync.plans o
  where o.account = t.account and o.plan_hash = t.plan_hash)"""
_DIFFERENCES = """
/* enerflo-sync forget: differences of a customer's records */
update sync.differences t set enerflo_value = null, crm_value = null
where t.account = :account and t.table_name = :table and t.field is not null
  and not (t.field = any(:harmless)) and (t.enerflo_value is not null or t.crm_value is not null)
  and ({of_customer})
"""
_AGREED = """
/* enerflo-sync forget: agreed values of a customer's records */
delete from sync.agreed t
where t.account = :account and t.table_name = :table and not (t.field = any(:harmless)) and ({of_customer})
"""
_TOLD = """
/* enerflo-sync forget: values that were decided about */
select distinct f.field, v.value #>> '{{}}' as value
from unnest(cast(:fields as text[])) f (field) cross join lateral (
  select unnest(array[t.old_value, t.new_value, t.losing_value, t.kept_value]) as value from sync.ledger t
  where t.account = :account and t.table_name = :table and t.field = f.field and ({of_key})
  union all
  select unnest(array[t.before, t.after, t.source_value]) from sync.plan_changes t
  where t.account = :account and t.table_name = :table and t.field = f.field and ({of_customer})
  union all
  select unnest(array[t.value, t.crm_value]) from sync.agreed t
  where t.account = :account and t.table_name = :table and t.field = f.field and ({of_customer})
) v where jsonb_typeof(v.value) = 'string'
"""
_DELETED = """
/* enerflo-sync forget: rows of a customer that were deleted from the CRM */
update sync.plan_changes t set deleted_row = null
where t.account = :account and t.table_name = :table and t.deleted_row is not null and ({of_customer})
"""

_OPEN = """
/* enerflo-sync forget: writes of a customer's records that are open */
select t.plan_hash, q.state as plan_state, count(*) as changes,
  bool_or(t.state in ('sent', 'handed_over')) as on_its_way
from sync.plan_changes t join sync.plans q using (account, plan_hash)
where t.account = :account and t.table_name = :table and ({of_customer})
  and (t.state in ('sent', 'handed_over')
    or t.state = 'planned' and q.state in ('open', 'approved') and q.expires_at > now())
group by 1, 2 order by 1
"""


@dataclass(frozen=True)
class CustomerRows:
    """The rows of one mapped table that are about a customer's records.

    :param keys: the CRM's keys of the records, as JSON.
    :param ids: the values of ``id_column`` in the mirror's keys, as text.
    :param in_key: the CRM's key column that holds this id, if there is one.
    :param harmless: CRM columns whose values are no personal data.
    :param hidden: CRM columns whose values are personal data, with their mirror columns.
    """

    table: str
    id_column: str
    keys: Sequence[str]
    ids: Sequence[str]
    in_key: str | None
    harmless: Sequence[str]
    hidden: Mapping[str, str]

    @property
    def values(self) -> dict[str, Any]:
        """Return the parameters that select these rows in a statement."""
        names = {"table": self.table, "id": self.id_column, "in_key": self.in_key}
        return {**names, "keys": list(self.keys), "ids": list(self.ids), "harmless": list(self.harmless)}

    def of_customer(self, table: str) -> str:
        """Return the condition that a row ``t`` of a table is about one of the records.

        A row's key in the CRM may be another record's row by now, or may have been before. So the key decides
        only where nothing tells the record.
        """
        if table in HAS_RECORD:
            return f"coalesce({_IS_THEIRS.format(row='t')}, {self._by_key})"
        return f"({self._by_key}) and not {_DECIDED_OF_ANOTHER}" if table in _DECIDED else self._by_key

    def of_others(self, table: str) -> str:
        """Return the condition that a row ``t`` may have texts of theirs, and is about another record or any.

        Its key is or was that of one of the records; or its plan was pruned, and nothing tells the record.
        """
        if table in HAS_RECORD:
            return f"({self._by_key}) and not coalesce({_IS_THEIRS.format(row='t')}, true)"
        return f"({self._by_key}) and {_DECIDED_OF_ANOTHER} or {_UNPLANNED}" if table in _DECIDED else "false"

    @property
    def _by_key(self) -> str:
        found = "t.key = any(cast(cast(:keys as text[]) as jsonb[]))"
        in_key = " or t.key ->> cast(:in_key as text) = any(:ids)"
        return found if self.in_key is None else found + in_key


def unmapped_tables(connection: sa.Connection, account: str, comparisons: Iterable[Comparison]) -> list[str]:
    """Return the names of tables with stored rows that ``sync.yaml`` does not map any more."""
    values = {"account": account, "mapped": [comparison.name for comparison in comparisons]}
    return list(connection.scalars(_UNMAPPED, values))


def under_names(rows: Sequence[CustomerRows], names: Sequence[str]) -> list[CustomerRows]:
    """Return the rows of mapped tables, and the same rows under the names of tables no longer mapped.

    It is not known which mapped table had such a name. So under these names a column counts as personal if it
    is personal in any mapped table.
    """
    hidden = {column for one in rows for column in one.hidden}
    harmless = sorted({column for one in rows for column in one.harmless} - hidden)
    unmapped = [replace(one, table=name, harmless=harmless) for name in names for one in rows]
    return [*rows, *unmapped]


def rows_of_customer(
    connection: sa.Connection,
    account: str,
    comparison: Comparison,
    forgotten: Forgotten,
    unmapped: Sequence[str],
) -> CustomerRows | None:
    """Return the rows of a mapped table about a customer; None if its records do not belong to customers.

    :param unmapped: :func:`unmapped_tables`.
    """
    theirs = records_of(comparison, "e", forgotten)
    return None if theirs is None else keys_of_records(connection, account, comparison, theirs, unmapped)


def keys_of_records(
    connection: sa.Connection, account: str, comparison: Comparison, theirs: str, unmapped: Sequence[str]
) -> CustomerRows:
    """Return the rows of a mapped table about some records.

    :param theirs: the condition that a row ``e`` of the mirror is one of these records.
    :param unmapped: the names from :func:`unmapped_tables`; one may be a former name of the table.
    """
    id_column = comparison.mirror_key[0]
    names = {"name": comparison.name, "mirror": comparison.mirror, "id": id_column, "owned": theirs}
    ids = list(connection.scalars(sa.text(_IDS.substitute(names)), {"account": account}))
    names["crm"] = comparison.crm
    names["crm_key"] = comparison.crm_key([f't."{name}"' for name in comparison.mapping.key_columns])
    names["same"] = " and ".join(f"({j.mirror})::{j.type} = ({j.crm})::{j.type}" for j in comparison.joins)
    values = {"account": account, "tables": [comparison.name, *unmapped], "id": id_column, "ids": ids}
    keys = list(connection.scalars(sa.text(_KEYS.substitute(names)), values))
    in_key = [
        crm
        for crm, mirror in comparison.mapping.join_columns.items()
        if mirror == id_column and crm in comparison.mapping.key_columns
    ]
    hidden = set(hidden_columns(comparison))
    personal = personal_columns(MIRROR_TABLES[comparison.kind])
    # The link of a row to its record is kept, because it is the evidence that both sides once had the row.
    links = {crm for crm, mirror in comparison.mapping.join_columns.items() if mirror not in personal}
    named = {one.name for one in comparison.fields} | set(comparison.mapping.key_columns) | links
    return CustomerRows(
        table=comparison.name,
        id_column=id_column,
        keys=keys,
        ids=ids,
        in_key=in_key[0] if in_key else None,
        harmless=sorted(named - hidden),
        hidden={one.name: one.mapping.enerflo for one in comparison.fields if one.name in hidden},
    )


def stored_values(connection: sa.Connection, account: str, rows: CustomerRows) -> Iterator[tuple[str, str]]:
    """Yield personal values stored in ledger, plans and agreed pairs, each with its mirror column."""
    sql = _TOLD.replace("{of_key}", rows.of_customer("sync.ledger"))
    statement = _statement(sql.replace("{{}}", "{}"), rows, "sync.plan_changes")
    values = rows.values | {"account": account, "fields": list(rows.hidden)}
    for row in connection.execute(statement, used(statement, values)):
        yield rows.hidden[row.field], row.value


def open_writes(connection: sa.Connection, account: str, rows: CustomerRows) -> list[sa.RowMapping]:
    """Return by plan the number of changes of a customer's records that wait or are on their way."""
    statement = _statement(_OPEN, rows, "sync.plan_changes")
    values = used(statement, rows.values | {"account": account})
    return list(connection.execute(statement, values).mappings())


def erase_rows(connection: sa.Connection, account: str, rows: CustomerRows) -> Iterator[tuple[str, int]]:
    """Erase values about a customer's records; yield each table and its number of rows."""
    values = rows.values | {"account": account}
    for update, (field, columns) in VALUES.items():
        table = update.removeprefix("update ")
        clean = {name: _CLEAN.format(field=field, value=f"t.{name}") for name in columns}
        sql = _UPDATE.format(
            table=table,
            sets=", ".join(f"{name} = {text}" for name, text in clean.items()),
            changes=" or ".join(f"t.{name} is distinct from {text}" for name, text in clean.items()),
            of_customer="{of_customer}",
        )
        statement = _statement(sql, rows, table)
        yield table, connection.execute(statement, used(statement, values)).rowcount
    for table, sql in (
        ("sync.differences", _DIFFERENCES),
        ("sync.agreed", _AGREED),
        ("sync.plan_changes", _DELETED),
    ):
        statement = _statement(sql, rows, table)
        yield table, connection.execute(statement, used(statement, values)).rowcount


def _statement(sql: str, rows: CustomerRows, table: str) -> sa.TextClause:
    return sa.text(sql.replace("{of_customer}", rows.of_customer(table)))


def used(statement: sa.TextClause, values: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that a statement uses."""
    return {name: value for name, value in values.items() if name in statement._bindparams}


_MIRROR = Template("""
/* enerflo-sync forget: a customer's rows of the mirror */
update $table set $sets where account = :account and ($owned) and ($filled)
""")
_OWNED = {
    "customer_id": "customer_id = any(:customers)",
    "install_id": "install_id = any(:installs)",
    "deal_id": "deal_id = any(:uuids)",
}


def owned(table: sa.Table) -> str:
    """Return the condition that a row of a table is the customer's; "" if its rows belong to no customer.

    If the row has a customer's id, only that id counts.
    """
    first, *others = [one for name, one in _OWNED.items() if name in table.c] or [""]
    if others and "customer_id" in table.c:
        return f"coalesce({first}, {' or '.join(others)})"
    return " or ".join([first, *others])


_DECLARED = sa.text("""
/* enerflo-sync forget: columns that sync.yaml adds to a table */
select column_name from sync.declared_columns where account = :account and table_name = :table
""")


def erase_mirror(connection: sa.Connection, account: str, forgotten: Forgotten) -> Iterator[tuple[str, int]]:
    """Erase the personal columns in a customer's mirror rows; yield each table and its number of rows."""
    values = {
        "account": account,
        "customers": sorted(forgotten.customers),
        "installs": sorted(forgotten.installs),
        "uuids": sorted(forgotten.uuids),
    }
    for table in metadata.sorted_tables:
        theirs = owned(table)
        added = connection.scalars(_DECLARED, {"account": account, "table": table.name}).all()
        columns = sorted(personal_columns(table.name, added))
        if table.schema != MIRROR_SCHEMA or not theirs or not columns:
            continue
        sets = ", ".join(f'"{name}" = null' for name in columns)
        filled = " or ".join(f'"{name}" is not null' for name in columns)
        names = {"table": table.fullname, "sets": sets, "owned": theirs, "filled": filled}
        statement = sa.text(_MIRROR.substitute(names))
        yield table.fullname, connection.execute(statement, used(statement, values)).rowcount
