"""Direct reads of records that their list returns otherwise: compare their content, not their bytes.

A poll compares the list's bytes with those of the previous poll. A direct read has other bytes even when its
content is the same. If its digest replaced the list's, each webhook would write the row, and each poll would
write it back. A list returns records otherwise if it omits fields, or if records are read directly among
those of their owner, which may have another form.
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
    """Return whether the mirror loaded this record from a list that omits fields or has another form."""
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
    """Merge the rows of records from a direct read; write a row only if it is new or visibly differs.

    A written row gets the digests of its new version and bytes. The list's bytes differ from those, so the
    next poll parses the record again, even if the list returns its earlier content.

    :param columns: the columns of ``block``, including the digests.
    """
    table = resource.table
    name = stage(connection, table, columns, block)
    # A different version alone is no reason to write, and different bytes never are.
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
