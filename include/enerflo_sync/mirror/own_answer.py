"""A record's own answer where the list tells it otherwise: what it says counts, its bytes do not.

A poll compares the list's bytes with those of the last poll. The bytes of the record's own answer differ from
them even when both say the same, so they must not take their place: each webhook would then write the row,
and each poll would write it back. A list tells a record otherwise where it leaves out what belongs to it, or
where the record is read among those of its owner, in another form than the list's.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.bulk import Block, Merged, driver_connection, merge_statement, stage


def is_listed_otherwise(resource: Resource) -> bool:
    """Return whether records that are read directly may have another form than their list's.

    Of no interest where versions are not kept: other bytes alone then write no row.
    """
    return resource.versions is not None and any(read.owner is not None for read in resource.reads)


def tells_more_than_its_list(
    connection: sa.Connection, resource: Resource, account: str, record_id: int
) -> bool:
    """Return whether the mirror knows a record by a list that tells less of it, or in another form."""
    table = resource.table
    if "detail_read_at" not in table.c:
        return is_listed_otherwise(resource)
    query = sa.select(table.c.detail_read_at).where(
        table.c.account == account, table.c[resource.id_column] == record_id
    )
    return connection.scalar(query) is not None


def merge_own_answers(
    connection: sa.Connection, resource: Resource, columns: Sequence[str], block: Block
) -> Merged:
    """Bring in records' own rows, each of which is written only where it is new or a visible column differs.

    A row that is written names the version that it was written from, and its bytes: the list's differ from
    them, so the next poll looks at the record, even where it is back to what the list said before.

    :param columns: the columns of ``block``, the digests among them.
    """
    table = resource.table
    name = stage(connection, table, columns, block)
    # Alone, another version is no reason to write; other bytes never are.
    visible = [column for column in columns if column != "content_hash"]
    driver = driver_connection(connection)
    inserted, updated = driver.execute(merge_statement(table, visible, name, None)).fetchone() or (0, 0)
    if inserted or updated:
        column = resource.id_column
        driver.execute(
            f"/* enerflo-sync: version of {table.name} */"  # noqa: S608 - names of the declared schema
            f" update {table.fullname} t set content_hash = s.content_hash from {name} s"
            f" where t.account = s.account and t.{column} = s.{column} and t.raw_hash = s.raw_hash"
            f" and t.content_hash is distinct from s.content_hash"
        )
    return Merged(inserted, updated)
