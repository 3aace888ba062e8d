"""Checks whether the mapping fits the live tables: each mismatch with its line, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.catalog import Kind, LiveTable, live_tables, relation_names
from enerflo_sync.crm.chosen_rows import (
    duplicates,
    hidden_rows,
    misfits,
    no_row_left,
    shared_rows,
    shared_tables,
    unfilled,
    unindexed,
)
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.copied_tables import noticed_of_copies
from enerflo_sync.crm.copies import COPIES_SCHEMA
from enerflo_sync.crm.keys import case_folding
from enerflo_sync.crm.live.arrivals import no_arrivals, untold_arrivals
from enerflo_sync.crm.live.copies import copy_hints
from enerflo_sync.crm.live.doubtful_marks import doubtful_marks
from enerflo_sync.crm.live.milestone_titles import unknown_milestones
from enerflo_sync.crm.live.renamed_at_enerflo import renamed_at_enerflo
from enerflo_sync.crm.live.rights import present_role
from enerflo_sync.crm.live.shared_records import shared_records
from enerflo_sync.crm.live.taken_back import taken_back
from enerflo_sync.crm.live.unclaimed_rows import unclaimed
from enerflo_sync.crm.live.writing import writing_notices
from enerflo_sync.crm.mapping import NOT_NULL, FieldType, RecordKind, Side, TableMapping
from enerflo_sync.crm.names import pasted
from enerflo_sync.crm.notice import Notice
from enerflo_sync.crm.problems import listed, nearest
from enerflo_sync.crm.templates import columns_of
from enerflo_sync.resources.registry import KINDS
from enerflo_sync.warehouse.schema import OWN_SCHEMAS

COMPARABLE = {
    FieldType.TEXT: frozenset(Kind) - {Kind.OTHER, Kind.JSON, Kind.JSONB},
    FieldType.NUMBER: frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT, Kind.TEXT}),
    FieldType.INTEGER: frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT, Kind.TEXT}),
    FieldType.TIMESTAMP: frozenset({Kind.TIMESTAMPTZ, Kind.TIMESTAMP, Kind.DATE, Kind.TEXT}),
    FieldType.DATE: frozenset({Kind.TIMESTAMPTZ, Kind.TIMESTAMP, Kind.DATE, Kind.TEXT}),
    FieldType.BOOLEAN: frozenset({Kind.BOOLEAN, Kind.INTEGER, Kind.TEXT}),
    FieldType.JSON: frozenset({Kind.JSON, Kind.JSONB}),
}
# By type of the mark's value: kinds of columns that can hold a mark of deletion.
_MARK_KINDS = {
    bool: frozenset({Kind.BOOLEAN, Kind.INTEGER, Kind.TEXT}),
    int: frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT, Kind.TEXT}),
    str: frozenset({Kind.TEXT, Kind.UUID}),
}
# Our own schemas, which contain no CRM table other than our copies of one.
_OURS = (*OWN_SCHEMAS, COPIES_SCHEMA)
KEY_KINDS = frozenset({Kind.INTEGER, Kind.DECIMAL, Kind.FLOAT, Kind.TEXT, Kind.UUID})

_MAY_READ_STATUSES = sa.text("""
/* enerflo-sync doctor: is the mirror there, and may it be read? */
select coalesce(has_table_privilege(t.oid, 'select') and has_schema_privilege(t.relnamespace, 'usage'), false)
from pg_catalog.pg_class t join pg_catalog.pg_namespace n on n.oid = t.relnamespace
where n.nspname = 'enerflo' and t.relname = 'install_statuses'
""")

_STATUSES = sa.text("""
/* enerflo-sync doctor: statuses of the company */
select status_id, name from enerflo.install_statuses where account = :account and deleted_at is null
""")


class Severity(StrEnum):
    """Whether a finding prevents the comparison, makes it misleading, or is a suggestion."""

    ERROR = "error"
    WARNING = "warning"
    HINT = "hint"


class Finding(msgspec.Struct, frozen=True):
    """One finding of the doctor. ``what`` names the option and the table."""

    severity: Severity
    file: str
    line: int
    what: str
    found: str
    expected: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}: found {self.found}, expected {self.expected}."


def finding(config: SyncConfig, account: str, table: str, one: Notice, path: Path) -> Finding:
    """Return a notice about a table's option as a finding with its line."""
    return _Desk(config, account, table, path).noticed(one)


class _Desk:
    """Makes findings about one mapped table."""

    def __init__(self, config: SyncConfig, account: str, table: str, path: Path) -> None:
        self._config, self._account, self._table, self._file = config, account, table, path

    def finding(
        self, severity: Severity, place: Sequence[str], found: str, expected: str, next_step: str
    ) -> Finding:
        spot = self._config.table_spot(self._account, self._table, *place)
        file = spot.file if spot.file != self._config.file else self._file
        what = ".".join(("tables", self._table, *place))
        return Finding(severity, str(file), spot.line, what, found, expected, next_step)

    def noticed(self, one: Notice) -> Finding:
        return self.finding(Severity(one.severity), one.place, one.found, one.expected, one.next_step)


def check_mapping(connection: sa.Connection, config: SyncConfig, account: str, path: Path) -> list[Finding]:
    """Return every mismatch between an account's mapping and the live database; reads only.

    Tables with ``reconcile: false`` are checked, too. If no index proves that keys are unique, the table's
    keys are read.

    :param path: the file to name in the findings.
    :raises ConfigurationError: no account has that name.
    """
    findings: list[Finding] = []
    fold = case_folding(connection)
    for name, mapping in config.tables_for(account).items():
        table, found = check_table(connection, config, account, name, path)
        findings += found
        findings += _unread(config, mapping.kind(name), _Desk(config, account, name, path))
        if table is not None and not any(finding.severity is Severity.ERROR for finding in found):
            desk = _Desk(config, account, name, path)
            if (left := no_row_left(connection, config, account, name, table)) is not None:
                findings.append(desk.noticed(left))
                continue
            mode = config.mode_of(account, name)
            writes = "to_crm" in mode.writes
            makes_rows = writes and Side.CRM in mapping.create_in
            chosen = [
                *duplicates(connection, mapping, table, fold),
                *shared_tables(config, account, name),
                *shared_rows(connection, config, account, name, table),
                *unclaimed(connection, config, account, name, table),
                *(shared_records(connection, config, account, name) if makes_rows else ()),
                *(unfilled(mapping, table) if makes_rows else ()),
                *unindexed(connection, mapping, table, fold),
                *no_arrivals(connection, mapping, table),
                *hidden_rows(table),
                *doubtful_marks(connection, mapping, table),
                *renamed_at_enerflo(connection, name, mapping, account),
                *(taken_back(connection, mapping, account, name) if writes else ()),
            ]
            findings += [desk.noticed(one) for one in chosen]
            findings += [desk.noticed(one) for one in copy_hints(mapping, table)]
            copied = noticed_of_copies(connection, mapping, table, writes=writes)
            findings += [desk.noticed(one) for one in copied]
            if writes and mapping.handed_to is None:
                notices = writing_notices(connection, mapping, table, mode)
                findings += [desk.noticed(one) for one in notices]
            findings += _sent(config, name, mapping, table, path)
    findings += _statuses(connection, config, account, path)
    return findings


def check_table(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    name: str,
    path: Path,
    *,
    to_plan: bool = True,
    relations: Mapping[tuple[str, str], LiveTable] | None = None,
) -> tuple[LiveTable | None, list[Finding]]:
    """Return one mapped table as it is live, and the mismatches that its catalog entry shows.

    :param to_plan: also check the columns that only a plan needs.
    :param relations: what the catalog says, if it was read for all tables; absent: it is read for this one.
    """
    mapping = config.tables_for(account)[name]
    desk = _Desk(config, account, name, path)
    schema, relname = mapping.relation
    if schema in _OURS and not mapping.is_kept:
        found = f"{mapping.crm_table}, a table of enerflo-sync itself"
        step = "Write the CRM's table. What Enerflo sent is compared with it, not with itself."
        expected = f"a table outside of the schemas {', '.join(_OURS)}"
        return None, [desk.finding(Severity.ERROR, ("crm_table",), found, expected, step)]
    if relations is None:
        relations = live_tables(connection, [(schema, relname)])
    table = relations.get((schema, relname))
    if table is None:
        ours = tuple(f"{one}." for one in _OURS)
        names = [one for one in relation_names(connection) if not one.startswith(ours)]
        near = nearest(f"{schema}.{relname}", names)
        if mapping.is_kept:
            step = "Run enerflo-sync reconcile, which makes it."
            found = f"no copy of {mapping.crm_table}, which is in another database"
            return None, [desk.finding(Severity.ERROR, ("crm_table",), found, "a copy", step)]
        found = f"no table {mapping.crm_table} in the database"
        step = f"Did you mean {near}?" if near else "Create it, or write the name that it has."
        return None, [desk.finding(Severity.ERROR, ("crm_table",), found, "an existing table or view", step)]
    if not table.usable or not (table.readable or any(c.readable for c in table.columns.values())):
        role = pasted(present_role(connection))
        found = f"no right to read {mapping.crm_table}"
        step = (
            f"Run: grant usage on schema {pasted(schema)} to {role};"
            f" grant select on {pasted(schema, relname)} to {role};"
        )
        return table, [desk.finding(Severity.ERROR, ("crm_table",), found, "USAGE and SELECT", step)]
    planned = _planned_columns(mapping, table, desk) if to_plan else ()
    deleted = _deleted_when(mapping, table, desk)
    chosen = [desk.noticed(one) for one in misfits(connection, mapping, table)]
    chosen += [
        desk.finding(Severity.ERROR, *finding) for finding in unknown_milestones(connection, mapping, account)
    ]
    chosen += [desk.noticed(one) for one in untold_arrivals(mapping, table)]
    columns = _columns(mapping, table, desk)
    return table, [*columns, *chosen, *deleted, *planned, *_updated_at(mapping, table, desk)]


def _unread(config: SyncConfig, kind: str, desk: _Desk) -> Iterator[Finding]:
    """Yield a finding if no poll reads the records that a table is compared with."""
    resource, _ = KINDS[kind]
    if resource.name in config.poll.resources:
        return
    found = f"a table of {kind}, which no poll reads"
    expected = f"{resource.name} among poll.resources"
    step = "Add it there, or every row of the table is missing in Enerflo."
    yield desk.finding(Severity.WARNING, (), found, expected, step)


def _columns(mapping: TableMapping, table: LiveTable, desk: _Desk) -> Iterator[Finding]:
    keys = [(("key", column), column, KEY_KINDS) for column in mapping.key]
    joins = [(("join", column), column, KEY_KINDS) for column in mapping.join or {}]
    fields = [
        ((mapping.section, column), column, COMPARABLE[field.type])
        for column, field in mapping.fields.items()
    ]
    to = mapping.to_salesforce
    ids = [(("salesforce",), to.id, KEY_KINDS)] if to is not None else []
    for place, column, kinds in [*keys, *joins, *fields, *ids]:
        live = table.columns.get(column)
        if live is None:
            yield _missing_column(place, column, table, desk)
        elif not live.readable:
            yield _unreadable_column(place, column, table, desk)
        elif live.kind not in kinds:
            yield desk.finding(
                Severity.ERROR,
                place,
                f"column {column} of type {live.type}",
                f"a type that compares as declared: {listed(sorted(kinds))}",
                "Change the declared type, or map a view that converts the column.",
            )


def _deleted_when(mapping: TableMapping, table: LiveTable, desk: _Desk) -> Iterator[Finding]:
    """Yield columns that mark a row as deleted and are missing or cannot hold their mark."""
    for column, value in mapping.deleted_when.items():
        place = ("deleted_when", column)
        live = table.columns.get(column)
        if live is None:
            yield _missing_column(place, column, table, desk)
        elif not live.readable:
            yield _unreadable_column(place, column, table, desk)
        elif value != NOT_NULL and live.kind not in _MARK_KINDS[type(value)]:
            yield desk.finding(
                Severity.ERROR,
                place,
                f"column {column} of type {live.type} for the value {json.dumps(value)}",
                f"{NOT_NULL}, or a type that can hold it: {listed(sorted(_MARK_KINDS[type(value)]))}",
                "Write the value that the column holds in a deleted row.",
            )


def _planned_columns(mapping: TableMapping, table: LiveTable, desk: _Desk) -> Iterator[Finding]:
    for option in ("create_when", "adopt", "on_insert"):
        for column in getattr(mapping, option):
            live = table.columns.get(column)
            if live is None:
                yield _missing_column((option, column), column, table, desk)
            elif option != "on_insert" and not live.readable:
                yield _unreadable_column((option, column), column, table, desk)


def _unreadable_column(place: Sequence[str], column: str, table: LiveTable, desk: _Desk) -> Finding:
    step = f"Grant the role select on {pasted(table.schema, table.name)}: enerflo-sync doctor --grants ROLE."
    return desk.finding(Severity.ERROR, place, f"no right to read {column}", "SELECT", step)


def _missing_column(place: Sequence[str], column: str, table: LiveTable, desk: _Desk) -> Finding:
    near = nearest(column, table.columns)
    return desk.finding(
        Severity.ERROR,
        place,
        f"no column {column} in {table.schema}.{table.name}",
        listed(table.columns, limit=30),
        f"Did you mean {near}?" if near else "Write a column that the table has, or leave the option out.",
    )


def _updated_at(mapping: TableMapping, table: LiveTable, desk: _Desk) -> Iterator[Finding]:
    """Yield what is wrong with the columns for the time of a row's change or arrival."""
    if mapping.updated_at is None:
        found, expected = "no updated_at", "the column with the row's last change"
        step = "Without it no difference is in flight by the CRM's side, and no field may have newest."
        yield desk.finding(Severity.HINT, ("updated_at",), found, expected, step)
    by_column = "arrived_at" if mapping.arrived_at else "updated_at"
    trusted = mapping.arrived_at or mapping.updated_at_set_at_commit
    for option, name in (("updated_at", mapping.updated_at), ("arrived_at", mapping.arrived_at)):
        column = table.columns.get(name or "")
        if name is None:
            continue
        if column is None:
            yield _missing_column((option,), name, table, desk)
        elif not column.readable:
            found = f"no right to read {name}"
            yield desk.finding(Severity.ERROR, (option,), found, "SELECT", "Grant it, or leave it out.")
        elif not column.kind.is_time:
            found = f"column {name} of type {column.type}"
            needed = option == "updated_at" and mapping.goes_by_time
            step = "newest cannot decide without it." if needed else "The column is not used until then."
            severity = Severity.ERROR if needed else Severity.WARNING
            yield desk.finding(severity, (option,), found, "a timestamp or a date", step)
        elif column.kind is Kind.DATE and option == "updated_at" and mapping.goes_by_time:
            step = "Where both sides changed a field on that day, newest cannot decide and a person is asked."
            yield desk.finding(Severity.HINT, (option,), f"column {name} of type date", "a timestamp", step)
        elif trusted and option == by_column and name not in table.first_indexed and not table.view:
            step = f"create index on {pasted(table.schema, table.name)} ({pasted(name)});"
            yield desk.finding(
                Severity.HINT, (option,), f"no index on {name}", "one, for fast runs", f"Run: {step}"
            )


def _sent(
    config: SyncConfig, name: str, mapping: TableMapping, table: LiveTable, path: Path
) -> Iterator[Finding]:
    """Yield missing columns from which a new record of Enerflo would be filled."""
    if Side.ENERFLO not in mapping.create_in:
        return
    for place, texts in _sent_texts(config, mapping.kind(name)):
        lacking = [[column for column in columns_of(text) if column not in table.columns] for text in texts]
        for column in dict.fromkeys(column for columns in lacking for column in columns):
            yield Finding(
                Severity.WARNING if all(lacking) else Severity.HINT,
                str(path),
                config.line(*place),
                ".".join(place),
                f"no column {column} in {table.schema}.{table.name}",
                listed(table.columns, limit=30),
                "A text that names it is left out.",
            )


def _sent_texts(config: SyncConfig, kind: str) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    writes = config.writes
    if kind == RecordKind.NOTES:
        yield ("writes", "note", "text"), _several(writes.note.text)
    if kind == RecordKind.LEADS:
        for field, texts in writes.lead.also.items():
            yield ("writes", "lead", "also", field), _several(texts)
        if writes.appointment is not None:
            yield ("writes", "appointment", "start"), [f"{{{writes.appointment.start}}}"]


def _several(texts: str | Sequence[str]) -> Sequence[str]:
    return [texts] if isinstance(texts, str) else texts


def _statuses(connection: sa.Connection, config: SyncConfig, account: str, path: Path) -> Iterator[Finding]:
    if not connection.scalar(_MAY_READ_STATUSES):
        return
    names = {row.status_id: row.name or "" for row in connection.execute(_STATUSES, {"account": account})}
    if not names:
        return
    folded = {name.strip().lower() for name in names.values()}
    statuses = config.statuses
    used = [("completed", statuses.completed), ("on_hold", statuses.on_hold)]
    for option, status in [*used, *(("voided", status) for status in statuses.voided)]:
        known = status in names if isinstance(status, int) else status.strip().lower() in folded
        if not known:
            near = nearest(str(status), names.values())
            none = " If the company has no such status, write voided: []." if option == "voided" else ""
            yield Finding(
                Severity.WARNING,
                str(path),
                config.line("statuses", option),
                f"statuses.{option}",
                f"no status {status} among the company's {len(names)}",
                listed(names.values()),
                (f"Did you mean {near}?" if near else "Write one that Enerflo lists for the company.") + none,
            )
