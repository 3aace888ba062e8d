"""A record's own answer where the list tells less of it: what it says counts, its bytes do not.

A poll compares the list's bytes with those of the last poll. The bytes of the record's own answer differ from
them even when both say the same, so they must not take their place: each webhook would then write the row,
and each poll would write it back.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.bulk import Block, Merged, driver_connection, merge_statement, stage


def tells_more_than_its_list(
    connection: sa.Connection, resource: Resource, account: str, record_id: int
) -> bool:
    """Return whether the mirror knows a record by a list that does not tell all of it."""
    table = resource.table
    if "detail_read_at" not in table.c:
        return False
    query = sa.select(table.c.detail_read_at).where(
        table.c.account == account, table.c[resource.id_column] == record_id
    )
    return connection.scalar(query) is not None


def merge_own_answer(
    connection: sa.Connection, resource: Resource, columns: Sequence[str], block: Block
) -> Merged:
    """Bring in one known record's own row, which is written only where a visible column differs.

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
    if updated:
        column = resource.id_column
        driver.execute(
            f"/* enerflo-sync: version of {table.name} */"  # noqa: S608 - names of the declared schema
            f" update {table.fullname} t set content_hash = s.content_hash from {name} s"
            f" where t.account = s.account and t.{column} = s.{column}"
        )
    return Merged(inserted, updated)
