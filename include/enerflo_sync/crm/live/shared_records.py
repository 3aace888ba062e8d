"""Records of Enerflo that two accounts have, whose rows one CRM table tells apart by ``where``."""

from __future__ import annotations

from collections.abc import Iterator
from string import Template

import sqlalchemy as sa

from enerflo_sync.counted import count_of
from enerflo_sync.crm.chosen_rows import of_one_table
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import MIRROR_TABLES
from enerflo_sync.crm.names import quoted
from enerflo_sync.crm.notice import Notice
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata

# Records that both have are counted up to this number.
_ENOUGH = 1_000
_MAY_READ = sa.text("""
/* enerflo-sync doctor: whether the present role may read the mirror */
select exists (
  select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where n.nspname = :schema and c.relname = :name
    and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select'))
""")
_BOTH = Template("""
/* enerflo-sync doctor: records of Enerflo that two accounts have */
select count(*) from (
  select from $mirror a join $mirror b on b.account = %(other)s and b.deleted_at is null and $same
  where a.account = %(account)s and a.deleted_at is null limit %(enough)s) s
""")


def shared_records(
    connection: sa.Connection, config: SyncConfig, account: str, name: str
) -> Iterator[Notice]:
    """Yield the other accounts that have records of this one, and rows of the same CRM table.

    ``where`` chooses the CRM's rows alone. So the account that plans first makes the row of a new record, and
    it becomes one of that account.
    """
    mapping = config.tables_for(account)[name]
    table = metadata.tables[f"{MIRROR_SCHEMA}.{MIRROR_TABLES[mapping.key_kind(name)]}"]
    keys = [quoted(column.name) for column in table.primary_key.columns if column.name != "account"]
    statement = _BOTH.substitute(
        mirror=quoted(MIRROR_SCHEMA, table.name), same=" and ".join(f"a.{key} = b.{key}" for key in keys)
    )
    readable = connection.scalar(_MAY_READ, {"schema": MIRROR_SCHEMA, "name": table.name})
    for other, whose, theirs in of_one_table(config, account, name) if readable else ():
        if other == account or not mapping.where or not theirs.where or mapping.where == theirs.where:
            continue
        values = {"account": account, "other": other, "enough": _ENOUGH}
        if rows := connection.exec_driver_sql(statement, values).scalar_one():
            several = f"{_ENOUGH:,} and more records" if rows == _ENOUGH else count_of(rows, "record")
            yield Notice(
                "warning",
                ("where",),
                f"{several} of Enerflo that {whose} has, too",
                "records of one account each: where chooses rows of the CRM, and none of Enerflo's records",
                "The account that plans first makes the row of a new record. Use keys that see one company"
                " each, or write create_in: [] here.",
            )
