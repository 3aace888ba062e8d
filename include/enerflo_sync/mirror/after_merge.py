"""After a record's merge: merge child rows, update digests, tombstone children that it no longer lists."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from enerflo_sync.mirror.batch import SEEN
from enerflo_sync.resources.fingerprint import RAW_HASH_LENGTH
from enerflo_sync.resources.resource import Part, Resource
from enerflo_sync.warehouse.bulk import Block, Owner, driver_connection, merge, stage_name

# A concurrent write between two looks makes one more look necessary.
_MOST_LOOKS = 10


def remember_bytes(connection: sa.Connection, resource: Resource) -> None:
    """Store the digest of staged records whose mirror row has no digest from the current reader.

    Their content is unchanged. Such rows come from a rebuild, which has the content but not the bytes, or
    from an earlier reader version (:attr:`Resource.reader`).
    """
    table, column = resource.table, resource.id_column
    driver_connection(connection).execute(
        f"/* enerflo-sync: bytes of {table.name} */"  # noqa: S608 - names of the declared schema
        f" update {table.fullname} t set raw_hash = s.raw_hash from {stage_name(table)} s"
        f" where t.account = s.account and t.{column} = s.{column}"
        f" and {_reader('t')} is distinct from {_reader('s')}"
        f" and t.observed_at <= s.observed_at"
    )


def _reader(row: str) -> str:
    """Return the SQL for the part of a row's digest that identifies its reader; null without a digest."""
    return f"substring({row}.raw_hash from {RAW_HASH_LENGTH + 1})"


def merge_part(
    connection: sa.Connection,
    resource: Resource,
    part: Part,
    block: Block,
    told: Mapping[int, datetime],
    account: str,
) -> int:
    """Merge the child rows of records, unless a newer answer already wrote them; return the rows changed.

    :param told: per record that delivered child rows, when its answer was requested.
    """
    owner = Owner(resource.table, resource.id_column, part.owner or "")
    columns = (*part.columns, *SEEN)
    written = merge(connection, part.table, columns, block, owner).written
    return written + tombstone_unlisted(connection, part, owner, told, account)


def tombstone_unlisted(
    connection: sa.Connection,
    part: Part,
    owner: Owner,
    told: Mapping[int, datetime],
    account: str,
) -> int:
    """Mark child rows that their record no longer lists, and count them: that list is the evidence.

    :param told: per record that delivered its child rows, when its answer was requested.
    """
    table = part.table.fullname
    key = ", ".join(column.name for column in part.table.primary_key.columns)
    # Force a lookup per record and a hash lookup: the number of staged rows is unknown to the planner, and
    # without statistics it would compare every row with every other.
    statement = f"""
        /* enerflo-sync: unlisted {part.table.name} */
        with standing as materialized (
            select t.*, u.at from unnest(%(ids)s::bigint[], %(at)s::timestamptz[]) as u(id, at)
            cross join lateral (
                select ctid as place, {key}, observed_at from {table}
                where account = %(account)s and {part.owner} = u.id and deleted_at is null offset 0
            ) t
            where t.observed_at <= u.at and not exists (
                select from {owner.table.fullname} o
                where o.account = %(account)s and o.{owner.id_column} = u.id and o.observed_at > u.at)
        ), unlisted as materialized (
            select place, at from standing where ({key}) not in (select {key} from {stage_name(part.table)})
        ), marked as (
            update {table} t set deleted_at = u.at from unlisted u
            where t.ctid = u.place and t.deleted_at is null and t.observed_at <= u.at
            returning 1
        )
        select (select count(*) from unlisted), (select count(*) from marked)
    """  # noqa: S608 - names of the declared schema
    values = {"ids": list(told), "at": list(told.values()), "account": account}
    written = 0
    for _ in range(_MOST_LOOKS):
        cursor = driver_connection(connection).execute(statement, values)
        unlisted, marked = cursor.fetchone() or (0, 0)
        written += marked
        if unlisted == marked:
            break
        # A concurrent transaction wrote one of the rows. The next look reads its new content.
    return written
