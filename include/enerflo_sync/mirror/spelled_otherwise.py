"""Find records whose bytes changed but not their content: other key order, white space, or number format."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from string import Template

import psycopg
import sqlalchemy as sa

from enerflo_sync.resources.fingerprint import as_text
from enerflo_sync.resources.resource import Resource
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.refused import refuses_a_row

# PostgreSQL compares them: for 10,000 changed installs a poll takes 2.0 s, and took 3.5 s when the stored
# versions were sent here for comparison.
_SAID_BEFORE = Template("""
/* enerflo-sync: $name whose content equals their newest version */
select u.id from unnest(%b::bigint[], %b::text[]) as u(id, raw) cross join lateral (
  select v.raw from $table i join $versions v
    on v.account = i.account and v.$id = i.$id and v.content_hash = i.content_hash
  where i.account = %s and i.$id = u.id offset 0
) v where v.raw = u.raw::jsonb
""")


def spelled_otherwise(
    connection: sa.Connection, resource: Resource, account: str, moved: Mapping[int, bytes]
) -> set[int]:
    """Return the records whose content equals that of their newest stored version.

    :param resource: what the records are; it keeps versions.
    :param moved: by id, the stable bytes of records whose bytes changed.
    """
    texts: dict[int, str] = {}
    for record_id, stable in moved.items():
        # An unreadable record gets its reason later, when it is parsed.
        with suppress(Exception):
            texts[record_id] = as_text(stable)
    return _said_before(connection, _SAID_BEFORE.substitute(resource.names), account, texts)


def _said_before(
    connection: sa.Connection, statement: str, account: str, texts: Mapping[int, str]
) -> set[int]:
    driver = driver_connection(connection)
    values = list(texts), list(texts.values()), account
    try:
        # A refused value must not abort the caller's transaction.
        with nullcontext() if driver.autocommit else connection.begin_nested():
            found = driver.execute(statement, values, binary=True).fetchall()
    except psycopg.Error as error:
        if not refuses_a_row(error):
            raise
        # PostgreSQL refuses one text as jsonb, which hides the result of the others: compare one by one.
        one_by_one = [{record_id: text} for record_id, text in texts.items()] if len(texts) > 1 else []
        return set().union(*(_said_before(connection, statement, account, one) for one in one_by_one))
    return {record_id for (record_id,) in found}
