"""What each mapped field means, so that agreed values from before a change of the mapping are ignored.

A pair of agreed values holds both sides' values of one field when they agreed. Once ``sync.yaml`` maps the
CRM column to another field of Enerflo, table, zone or wording, the present values cannot be compared with
that pair: a difference between them does not show that a side changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import FieldType, WideColumn
from enerflo_sync.crm.names import jsonb_object, literal
from enerflo_sync.reconcile.changed import keeps_times
from enerflo_sync.reconcile.compare import Comparison, full_name
from enerflo_sync.reconcile.judged_rows import row_stands
from enerflo_sync.reconcile.related import Relative, Sibling
from enerflo_sync.reconcile.values import Field

# The meanings are stored beside the pairs' key columns, under a name that no table can have.
STORED_AS = "{}/fields"
# The meaning of the rows is stored beside those of the fields, under a name that no column can have.
OF_ROWS = ""
# The part of a meaning that says whether the CRM's column holds moments, or times without a zone.
CLOCK = "clock"

_BY_LINK = Template("""q.enerflo_key = $record and q.key in (
          select l.key from sync.agreed l where l.account = %(account)s and l.table_name = $table
            and l.link = $link and l.field = $field)""")

_STORED = sa.text("""
/* enerflo-sync: what the fields of agreed pairs stood for */
select table_name, columns from sync.agreed_keys where account = :account and table_name = any(:stored_as)
""")

_PLACES = sa.text("""
/* enerflo-sync: in which databases the tables stand that copies are of */
select table_name, place from sync.crm_copies where account = :account and place is not null
""")


def with_changed_meanings(
    connection: sa.Connection, config: SyncConfig, account: str, comparisons: Sequence[Comparison]
) -> list[Comparison]:
    """Return comparisons that know the meanings of their fields, and which meanings changed."""
    stored = stored_meanings(connection, account, [comparison.name for comparison in comparisons])
    places = _places(connection, config, account)
    found = []
    for comparison in comparisons:
        place = places.get(comparison.name)
        meanings = {field.name: _meaning(config, comparison, field, place) for field in comparison.fields}
        meanings[OF_ROWS] = _of_rows(comparison, place)
        before = stored[comparison.name]
        changed = {name for name, meaning in meanings.items() if changed_parts(before.get(name), meaning)}
        found.append(replace(comparison, meanings=meanings, remeant=frozenset(changed)))
    return [
        replace(
            one,
            siblings=_siblings(one, found),
            relatives=_relatives(one, found),
            former_rows=_former_rows(one),
        )
        for one in found
    ]


def _siblings(comparison: Comparison, others: Sequence[Comparison]) -> dict[str, Sibling]:
    """Return the other tables with the same CRM table, and which fields mean the same there."""
    return {
        other.name: Sibling(
            frozenset(name for name, there in _shared_fields(comparison, other) if name == there),
            keeps_times(other),
        )
        for other in others
        if other is not comparison and _is_of_one_table(comparison, other)
    }


def _relatives(comparison: Comparison, others: Sequence[Comparison]) -> dict[str, Relative]:
    """Return the tables that map another CRM table to the same records, where a pair tells its record."""
    found = {}
    for other in others:
        if (other.kind, other.is_wide) != (comparison.kind, comparison.is_wide):
            continue
        fields, of_record = dict(_shared_fields(comparison, other)), _of_record(comparison, other)
        if not _is_of_one_table(comparison, other) and fields and of_record is not None:
            found[other.name] = Relative(fields, of_record, partial(row_stands, other))
    return found


def _former_rows(comparison: Comparison) -> Relative | None:
    of_record = None if comparison.key_is_record else _of_record(comparison, comparison)
    fields = {field.name: field.name for field in comparison.fields if field.name not in comparison.remeant}
    if of_record is None or not fields:
        return None
    return Relative(fields, of_record, partial(row_stands, comparison))


def _is_of_one_table(comparison: Comparison, other: Comparison) -> bool:
    return bool(comparison.meanings[OF_ROWS]["crm"] == other.meanings[OF_ROWS]["crm"])


def _shared_fields(comparison: Comparison, other: Comparison) -> Iterator[tuple[str, str]]:
    """Yield each field with the one of the other table that means the same."""
    for field in comparison.fields:
        for there in other.fields:
            changed = field.name in comparison.remeant or there.name in other.remeant
            if not changed and means_the_same(comparison, field.name, other, there.name):
                yield field.name, there.name


def _of_record(comparison: Comparison, other: Comparison) -> str | None:
    """Return the condition that a pair ``q`` of another table is about the record of a row ``o``.

    None if no index finds such a pair.
    """
    columns = {name: f"o.p{n}" for n, name in enumerate(comparison.mirror_key, 1)}
    if other.key_is_record:
        whole = all(join.live.kind is Kind.INTEGER for join in other.joins)
        key = jsonb_object((join.crm_name, columns[join.mirror_name]) for join in other.joins)
        return f"q.key = {key}" if whole else None
    here = {join.mirror_name: n for n, join in enumerate(comparison.joins, 1)}
    link = next((join for join in reversed(other.links) if join.mirror_name in here), None)
    if link is None:
        return None
    return _BY_LINK.substitute(
        record=comparison.record_of("o"),
        table=literal(other.name),
        field=literal(link.crm_name),
        link=f"to_jsonb(o.j{here[link.mirror_name]})",
    )


def means_the_same(comparison: Comparison, column: str, other: Comparison, there: str) -> bool:
    """Return whether two columns of the CRM are mapped to the same field of Enerflo and read alike."""
    mine, theirs = comparison.meanings[column], other.meanings[there]
    return all(mine[part] == theirs[part] for part in ("enerflo", "reads"))


def stored_meanings(
    connection: sa.Connection, account: str, tables: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the stored pairs' meanings by table and field; a field without a stored meaning is missing."""
    values = {"account": account, "stored_as": [STORED_AS.format(table) for table in tables]}
    rows = {row.table_name: row.columns for row in connection.execute(_STORED, values)}
    return {table: rows.get(STORED_AS.format(table), {}) for table in tables}


def moved_elsewhere(
    connection: sa.Connection, config: SyncConfig, account: str, tables: Sequence[str]
) -> list[str]:
    """Return the tables whose copies are of another database than when the last plan was made."""
    places, stored = _places(connection, config, account), stored_meanings(connection, account, tables)
    before = {table: said[OF_ROWS]["crm"][1] for table, said in stored.items() if OF_ROWS in said}
    return [table for table, place in places.items() if before.get(table, place) != place]


def _places(connection: sa.Connection, config: SyncConfig, account: str) -> dict[str, str]:
    """Return by table the database that its copy is of; empty where the CRM is in the warehouse."""
    if config.account(account).crm is None:
        return {}
    return {row.table_name: row.place for row in connection.execute(_PLACES, {"account": account})}


def changed_parts(stored: Mapping[str, Any] | None, meaning: Mapping[str, Any]) -> set[str]:
    """Return the parts of a field's meaning that differ from the stored ones: enerflo, crm, reads, clock."""
    if stored is None:
        return set()
    # An older version stored no clock.
    known = {part: said for part, said in meaning.items() if part != CLOCK or part in stored}
    return {part for part, said in known.items() if stored.get(part) != said}


def zone_read_in(stored: Mapping[str, Any] | None) -> str | None:
    """Return the zone in which a field's times were read under a stored meaning; None if it has no times."""
    reads = (stored or {}).get("reads") or [None, None]
    return reads[1] if isinstance(reads[1], str) else None


def _meaning(config: SyncConfig, comparison: Comparison, field: Field, place: str | None) -> dict[str, Any]:
    """Return what a field means on each side, and how its values are read, in the form that JSON gives back.

    Tolerances and other options of the comparison are left out: they do not change the values.

    :param place: the database of the CRM's table; None for the warehouse.
    """
    mapping = field.mapping
    column = config.columns.get(comparison.kind, {}).get(mapping.enerflo)
    timed = field.domain in (FieldType.TIMESTAMP, FieldType.DATE)
    kind = comparison.live.columns[field.name].kind
    # Whoever gives the column the other type decides in which zone its times are, and edits none of them.
    clock = {CLOCK: str(kind)} if timed and kind in (Kind.TIMESTAMPTZ, Kind.TIMESTAMP) else {}
    return {
        **clock,
        "enerflo": [
            comparison.kind,
            mapping.enerflo,
            None if column is None else column.path,
            mapping.milestone if isinstance(mapping, WideColumn) else None,
        ],
        "crm": [full_name(comparison.mapping), place],
        "reads": [str(field.domain), field.zone if timed else None, dict(mapping.values)],
    }


def _of_rows(comparison: Comparison, place: str | None) -> dict[str, Any]:
    """Return the meaning of a table's rows: records, rows, and how a row names its record."""
    mapping = comparison.mapping
    said = mapping.model_dump(mode="json", include={"key", "join", "where", "deleted_when", "layout"})
    there = mapping.to_salesforce
    return {
        "enerflo": [comparison.kind],
        "crm": [full_name(mapping), place],
        "reads": [said, None if there is None else [there.object, there.id, there.fields]],
    }
