"""The SQL that grants a user what an account's jobs need in the CRM's own database (``doctor --grants``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import sqlalchemy as sa

from enerflo_sync.copies.database import CrmConnections
from enerflo_sync.crm.catalog import live_table
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.live.rights import Writes, written_by
from enerflo_sync.crm.mapping import TableMapping
from enerflo_sync.crm.names import relation
from enerflo_sync.errors import ConfigurationError

Quote = Callable[..., str]


def remote_grants(
    connection: sa.Connection, crm: CrmConnections | None, config: SyncConfig, account: str, role: str
) -> str:
    """Return the statements for the CRM's own database, in its dialect; nothing there is asked or changed.

    For a database on which our statements never ran, and for names that it folds, the text names the rights.

    :param connection: to the warehouse, whose copies tell the columns.
    :param crm: None if the warehouse holds the CRM's tables, which needs no further statements.
    """
    if crm is None:
        return ""
    try:
        dialect = crm.dialect
    except ConfigurationError as error:
        return f"-- Not known: {' '.join(str(error).split())}\n"
    granted = _GRANTS.get(dialect.names[0], _named)
    if dialect.is_file:
        return (
            f"-- {dialect.title}: a file has no roles; the jobs' user of the machine reads and writes it.\n"
        )
    lines = [f"-- {dialect.title}. What enerflo-sync needs in the CRM's database for the account {account}."]
    for name, mapping in config.tables_for(account).items():
        mode = config.mode_of(account, name)
        lines.append(f"-- {name}, mode {mode}.")
        copy = live_table(connection, *mapping.relation)
        if copy is None and mapping.is_carried and "to_crm" in mode.writes:
            lines.append("-- Its columns are known once it was read: run this again after a reconciliation.")
        writes = written_by(mapping, copy, mode) if copy is not None and mapping.is_carried else Writes()
        lines += granted(mapping, writes, lambda *names: dialect.quoted(*names).replace("\\:", ":"), role)
    return "\n".join(dict.fromkeys(lines)) + "\n"


def as_comment(text: str) -> str:
    """Return statements for another database as a comment, which the warehouse's client skips."""
    if not text:
        return ""
    return "\n/* In the CRM's own database, not here:\n\n" + text.replace("*/", "* /") + "\n*/\n"


def _postgresql(mapping: TableMapping, writes: Writes, quoted: Quote, role: str) -> Iterator[str]:
    schema, table = relation(mapping.crm_table)
    yield f"grant usage on schema {quoted(schema)} to {quoted(role)};"
    yield from _by_column(quoted(schema, table), writes, quoted, quoted(role))


def _mysql(mapping: TableMapping, writes: Writes, quoted: Quote, role: str) -> Iterator[str]:
    user, _, host = role.partition("@")
    yield from _by_column(
        quoted(*relation(mapping.crm_table)), writes, quoted, f"{quoted(user)}@{quoted(host or '%')}"
    )


def _by_column(table: str, writes: Writes, quoted: Quote, user: str) -> Iterator[str]:
    yield f"grant select on {table} to {user};"
    for right, columns in (("insert", writes.inserts), ("update", writes.updates)):
        if columns:
            yield f"grant {right} ({', '.join(map(quoted, columns))}) on {table} to {user};"


def _named(mapping: TableMapping, writes: Writes, _quoted: Quote, role: str) -> Iterator[str]:
    yield f"-- {mapping.crm_table}: {role} needs SELECT."
    for right, columns in (("INSERT", writes.inserts), ("UPDATE", writes.updates)):
        if columns:
            yield f"-- {mapping.crm_table}: {right} of {_listed(columns)}."


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns)


_Grants = Callable[[TableMapping, Writes, Quote, str], Iterator[str]]
# Dialects whose rights a test grants, and then runs a plan with.
_GRANTS: Mapping[str, _Grants] = {"postgresql": _postgresql, "mysql": _mysql}
