"""What follows a merge while its rows are staged: digests of bytes, and what records do not list any more."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from enerflo_sync.mirror.resource import Part, Resource
from enerflo_sync.warehouse.bulk import Owner, driver_connection


def remember_bytes(connection: sa.Connection, resource: Resource) -> None:
    """Give staged records the digest of their bytes where the mirror has none: it says what they say.

    Such rows come from a rebuild, which has the content and not the bytes.
    """
    table, column = resource.table, resource.id_column
    driver_connection(connection).execute(
        f"/* enerflo-sync: bytes of {table.name} */"  # noqa: S608 - names of the declared schema
        f" update {table.fullname} t set raw_hash = s.raw_hash from stage_{table.name} s"
        f" where t.account = s.account and t.{column} = s.{column} and t.raw_hash is null"
        f" and t.observed_at <= s.observed_at"
    )


def tombstone_unlisted(
    connection: sa.Connection,
    part: Part,
    owner: Owner,
    told: Mapping[int, datetime],
    account: str,
) -> int:
    """Mark rows that their record no longer lists, and count them: the record's own list is the evidence.

    :param told: when each record that told what belongs to it was asked for.
    """
    key = [column.name for column in part.table.primary_key.columns]
    same = " and ".join(f"s.{name} = t.{name}" for name in key)
    cursor = driver_connection(connection).execute(
        f"/* enerflo-sync: unlisted {part.table.name} */"  # noqa: S608 - names of the declared schema
        f" update {part.table.fullname} t set deleted_at = u.at"
        f" from unnest(%s::bigint[], %s::timestamptz[]) as u(id, at)"
        f" where t.account = %s and t.{part.owner} = u.id and t.deleted_at is null and t.observed_at <= u.at"
        f" and not exists (select from {owner.table.fullname} o where o.account = t.account"
        f" and o.{owner.id_column} = u.id and o.observed_at > u.at)"
        f" and not exists (select from stage_{part.table.name} s where {same})",
        (list(told), list(told.values()), account),
    )
    return cursor.rowcount
