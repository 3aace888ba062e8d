"""Links a CRM row with the record that was created from it: reads and writes Enerflo's id in the row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.handing_over import hand_over_link
from enerflo_sync.agreed.outcomes import Applying
from enerflo_sync.agreed.written import touched
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.join_columns import JoinColumn
from enerflo_sync.reconcile.on_its_way import names_array

Key = Mapping[str, Any]


class LinkState(StrEnum):
    """Whether a CRM row has Enerflo's id; ``MARKED`` means that it has none and is marked as deleted."""

    GONE = "gone"
    MARKED = "marked"
    OPEN = "open"
    LINKED = "linked"


@dataclass(frozen=True)
class Link:
    """A CRM row and the record of Enerflo that belongs to it.

    :param record: the record's mirror row, by column.
    """

    comparison: Comparison
    key: Key
    record: Mapping[str, Any]


def link_columns(comparison: Comparison) -> dict[str, str]:
    """Return the CRM columns that store Enerflo's id, each with its mirror column."""
    keys = comparison.mapping.key_columns
    return {name: mirror for name, mirror in comparison.mapping.join_columns.items() if name not in keys}


def _links(comparison: Comparison) -> Sequence[JoinColumn]:
    """Return the join columns of :func:`link_columns`, in the same order."""
    keys = comparison.mapping.key_columns
    return [join for join in comparison.joins if join.crm_name not in keys]


def link_state(connection: sa.Connection, comparison: Comparison, key: Key) -> LinkState:
    """Return whether the CRM row has Enerflo's id or still waits for it, in the caller's transaction."""
    links = " or ".join(f"not ({join.is_open('t')})" for join in _links(comparison)) or "false"
    if comparison.hands_over:
        links = f"({links} or exists ({_handed_over(comparison)}))"
    living, inside = comparison.living("t"), comparison.inside("t")
    found = connection.exec_driver_sql(
        f"/* enerflo-sync push: does a CRM row name a record */"  # noqa: S608 - names of the mapping
        f" select {links} as linked, {living} as living from {comparison.crm} t"
        f" where {_of_key(comparison)} and {inside}"
        " order by 2 desc, 1",
        _values(comparison, key) | {"key": json.dumps(dict(key))},
    ).first()
    if found is None or (found.linked and not found.living):
        return LinkState.GONE
    if not found.living:
        return LinkState.MARKED
    return LinkState.LINKED if found.linked else LinkState.OPEN


def linked_id(connection: sa.Connection, comparison: Comparison, key: Key, mirror_column: str) -> int | None:
    """Return Enerflo's id in the CRM row, in the caller's transaction.

    If the table is only a copy, an id that was handed over for the row counts as well.
    """
    join = next((one for one in comparison.joins if one.mirror_name == mirror_column), None)
    if join is None:
        return None
    said = f"({join.crm})::text"
    if comparison.hands_over:
        said = f"coalesce({said}, ({_handed_over(comparison, literal(join.crm_name))}))"
    found = connection.exec_driver_sql(
        f"/* enerflo-sync push: which record a CRM row names */"  # noqa: S608 - names of the mapping
        f" select {said} from {comparison.crm_rows} t where {_of_key(comparison)}",
        _values(comparison, key) | {"key": json.dumps(dict(key))},
    ).scalar()
    return int(found) if found is not None and str(found).isdigit() else None


def write_link(connection: sa.Connection, link: Link, applying: Applying) -> bool:
    """Write Enerflo's id into the CRM row if it has none yet; return whether the row now has the record's id.

    Runs in the caller's transaction. The id is not written if another row has it, even without a unique
    index. The row's modification time is set if it is mapped. If the table is only a copy, the id is handed
    over, and the row counts as linked.

    :param applying: the application of the plan that created the record.
    :raises sqlalchemy.exc.IntegrityError: the CRM's table refuses the id, because another row has it.
    """
    comparison, live = link.comparison, link.comparison.live.columns
    columns = link_columns(comparison)
    if not columns:
        return True
    if comparison.hands_over:
        return _hand_over(connection, link, applying)
    values = _values(comparison, link.key) | _link_values(link)
    sets = []
    for n, column in enumerate(columns):
        sets.append(f"{quoted(column)} = %(link{n})s::{live[column].sql_type}")
    open_ = [join.is_open("t") for join in _links(comparison)]
    if (change := touched(comparison)) is not None:
        sets.append(" = ".join(change))
    done = connection.exec_driver_sql(
        f"/* enerflo-sync push: Enerflo's id into the CRM's row */"  # noqa: S608 - names of the mapping
        f" update {comparison.crm} t set {', '.join(sets)}"
        f" where {_of_key(comparison)} and {' and '.join([comparison.counts('t'), *open_])}"
        f" and not exists (select from {comparison.crm_rows} s where {_same_link(comparison)})",
        values,
    )
    # A trigger may have rejected the id, and a deferred one may still remove it, so deferred triggers run
    # now.
    connection.exec_driver_sql("/* enerflo-sync push */ set constraints all immediate")
    return done.rowcount > 0 and link_state(connection, comparison, link.key) is not LinkState.OPEN


def _hand_over(connection: sa.Connection, link: Link, applying: Applying) -> bool:
    state = link_state(connection, link.comparison, link.key)
    if state is not LinkState.OPEN or is_taken(connection, link):
        return state is LinkState.LINKED
    record = {name: link.record[name] for name in link.comparison.mirror_key}
    texts = json.dumps(dict(link.key)), json.dumps(record)
    links = {column: str(link.record[mirror]) for column, mirror in link_columns(link.comparison).items()}
    hand_over_link(connection, link.comparison, applying, texts, links)
    return True


def is_taken(connection: sa.Connection, link: Link) -> bool:
    """Return whether another CRM row already has the id of a link's record, in the caller's transaction.

    If the table is only a copy, a row for which the id was handed over counts as well.
    """
    comparison = link.comparison
    on_its_way = id_on_its_way(comparison, "%(link0)s", "w.key <> %(key)s::jsonb")
    named = f"exists (select from {comparison.crm_rows} s where {_same_link(comparison)})"
    found = connection.exec_driver_sql(
        f"/* enerflo-sync push: does a CRM row name this record */ select {on_its_way} or {named}",
        _link_values(link) | {"key": json.dumps(dict(link.key))},
    )
    return bool(found.scalar_one())


def id_on_its_way(comparison: Comparison, record_id: str, which: str = "true") -> str:
    """Return the condition that Enerflo's id was handed over for a CRM row, and has not arrived in the copy.

    :param record_id: SQL of the id as text.
    :param which: the condition that the row ``w`` of ``sync.crm_changes`` must meet as well.
    """
    columns = [*link_columns(comparison)]
    if not comparison.hands_over or not columns:
        return "false"
    return (
        f"exists (select from sync.crm_changes w where {which} and w.op = 'update'"
        f" and w.crm_table = {literal(full_name(comparison.mapping))} and w.ended_at is null"
        f" and w.state = 'open' and w.\"column\" = {literal(columns[0])}"
        f" and w.after #>> '{{}}' = {record_id})"
    )


def _handed_over(comparison: Comparison, column: str = "") -> str:
    """Return the select of ids that were handed over for a CRM row and have not arrived.

    :param column: SQL of the CRM column that stores the id; empty for any such column.
    """
    names = f"array[{column}]" if column else names_array(list(link_columns(comparison)))
    return (
        "select w.after #>> '{}' from sync.crm_changes w"  # noqa: S608 - names of the mapping
        f" where w.key = %(key)s::jsonb and w.crm_table = {literal(full_name(comparison.mapping))}"
        f" and w.op = 'update' and w.ended_at is null and w.state = 'open' and w.\"column\" = any({names})"
    )


def _same_link(comparison: Comparison) -> str:
    live = comparison.live.columns
    return " and ".join(
        f"{join.of_crm(f's.{quoted(join.crm_name)}')}"
        f" = {join.of_crm(f'%(link{n})s::{live[join.crm_name].sql_type}')}"
        for n, join in enumerate(_links(comparison))
    )


def _link_values(link: Link) -> dict[str, Any]:
    columns = link_columns(link.comparison)
    return {f"link{n}": str(link.record[mirror]) for n, mirror in enumerate(columns.values())}


def _of_key(comparison: Comparison) -> str:
    live = comparison.live.columns
    return " and ".join(
        f"t.{quoted(name)} = %(key{n})s::{live[name].sql_type}"
        for n, name in enumerate(comparison.mapping.key_columns)
    )


def _values(comparison: Comparison, key: Key) -> dict[str, Any]:
    return {f"key{n}": str(key[name]) for n, name in enumerate(comparison.mapping.key_columns)}
