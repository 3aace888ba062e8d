"""Erases a customer's data in records that now belong to another customer.

The mirror's rows of these records are the other customer's and stay. Erased are the data in versions that
name the former customer as the owner, and decided, planned and agreed values that equal one of the customer's
texts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.errors import BadRecordError
from enerflo_sync.mirror.forgotten import Forgotten
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.resources.registry import ALL
from enerflo_sync.resources.resource import Resource
from enerflo_sync.retention.forget_rows import VALUES, CustomerRows, keys_of_records, owned, used

_VERSIONS = Template("""
/* enerflo-sync forget: versions of $name that name a customer, of records of another owner */
select v.$id as id, v.content_hash, v.raw from $versions v join $table t using (account, $id)
where v.account = :account and v.raw::text ~ :names and not coalesce($owned, false)
""")
_CLEAN = """case when jsonb_typeof({value}) = 'object' then (
      select coalesce(jsonb_object_agg(v.key, v.value)
        filter (where not coalesce(v.value #>> '{{}}' = any(:texts), false)), '{{}}')
      from jsonb_each({value}) v)
    when {value} #>> '{{}}' = any(:texts) then null else {value} end"""
_UPDATE = """
/* enerflo-sync forget: a former owner's values */
update {table} t set {sets}
where t.account = :account and t.table_name = :table and ({of_records}) and ({changes})
"""
_DELETE_AGREED = """
/* enerflo-sync forget: agreed values of a former owner */
delete from {table} t
where t.account = :account and t.table_name = :table and ({of_records})
  and (t.value #>> '{{}}' = any(:texts) or t.crm_value #>> '{{}}' = any(:texts))
"""
_THEIRS_ALONE = sa.text("""
/* enerflo-sync forget: texts that no other customer has */
select v.value from unnest(cast(:texts as text[])) v (value)
where not exists (select from enerflo.customers c where c.account = :account
  and not c.customer_id = any(:customers)
  and v.value in (c.first_name, c.last_name, c.email, c.mobile, c.address, c.city, c.zip))
""")
_MORE = (
    ("update sync.differences", ("enerflo_value", "crm_value")),
    ("update sync.plan_changes", ("deleted_row",)),
)


@dataclass(frozen=True)
class FormerVersion:
    """A raw version of a record that names the customer as its owner.

    :param record_id: the id of the record, which in the mirror belongs to another customer.
    """

    resource: Resource
    record_id: int
    content_hash: str
    raw: Any


def former_versions(connection: sa.Connection, account: str, forgotten: Forgotten) -> list[FormerVersion]:
    """Return versions that name a customer as owner, of records that now belong to another customer.

    It searches the versions of all records.
    """
    names = rf"\y({'|'.join(map(str, sorted(forgotten.customers)))})\y"
    values: dict[str, Any] = {
        "account": account,
        "names": names,
        "customers": sorted(forgotten.customers),
        "installs": sorted(forgotten.installs),
        "uuids": sorted(forgotten.uuids),
    }
    found = []
    for one in ALL:
        if one.versions is None or "customer_id" not in one.table.c or one.id_column == "customer_id":
            continue
        statement = sa.text(_VERSIONS.substitute({**one.names, "owned": owned(one.table)}))
        for row in connection.execute(statement, used(statement, values)).mappings():
            if _owner(one, row["raw"]) in forgotten.customers:
                found.append(FormerVersion(one, row["id"], row["content_hash"], row["raw"]))
    return found


def _owner(resource: Resource, raw: Any) -> int | None:
    with suppress(BadRecordError):
        for own in resource.rows_by_column(raw)[0]:
            return own["customer_id"]  # type: ignore[no-any-return]
    return None


def former_rows(
    connection: sa.Connection,
    account: str,
    comparison: Comparison,
    versions: Sequence[FormerVersion],
    unmapped: Sequence[str],
) -> CustomerRows | None:
    """Return a mapped table's rows about records that were the customer's; None if it cannot have any.

    :param unmapped: names of tables that are not mapped any more; one may be a former name of the table.
    """
    ids = sorted({one.record_id for one in versions})
    if not ids or not comparison.mirror_has_install:
        return None
    listed = f"e.install_id = any('{{{','.join(map(str, ids))}}}'::bigint[])"
    return keys_of_records(connection, account, comparison, listed, unmapped)


def texts_of_nobody_else(
    connection: sa.Connection, account: str, forgotten: Forgotten, texts: Collection[str]
) -> list[str]:
    """Return those texts of a customer that no other customer of the account has."""
    values = {"account": account, "customers": sorted(forgotten.customers), "texts": sorted(texts)}
    return list(connection.scalars(_THEIRS_ALONE, values))


def erase_former_rows(
    connection: sa.Connection, account: str, rows: CustomerRows, texts: Collection[str]
) -> Iterator[tuple[str, int]]:
    """Erase the customer's texts in values about former records; yield each table and its number of rows."""
    yield from _erase_texts(connection, account, rows, texts, rows.of_customer)


def erase_of_others(
    connection: sa.Connection, account: str, rows: CustomerRows, texts: Collection[str]
) -> Iterator[tuple[str, int]]:
    """Erase the customer's texts in rows that are about other records, or about nobody knows which.

    :param texts: :func:`texts_of_nobody_else`.
    """
    yield from _erase_texts(connection, account, rows, texts, rows.of_others)


def _erase_texts(
    connection: sa.Connection,
    account: str,
    rows: CustomerRows,
    texts: Collection[str],
    of: Callable[[str], str],
) -> Iterator[tuple[str, int]]:
    values = rows.values | {"account": account, "texts": sorted(texts)}

    def done(table: str, sql: str, **parts: str) -> tuple[str, int]:
        statement = sa.text(sql.format(table=table, of_records=of(table), **parts))
        return table, connection.execute(statement, used(statement, values)).rowcount

    for update, columns in (*((update, columns) for update, (_, columns) in VALUES.items()), *_MORE):
        clean = {name: _CLEAN.format(value=f"t.{name}") for name in columns}
        sets = ", ".join(f"{name} = {text}" for name, text in clean.items())
        changes = " or ".join(f"t.{name} is distinct from {text}" for name, text in clean.items())
        yield done(update.removeprefix("update "), _UPDATE, sets=sets, changes=changes)
    yield done("sync.agreed", _DELETE_AGREED)
