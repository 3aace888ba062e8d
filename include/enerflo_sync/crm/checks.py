"""Checks beyond the form of the file: names that must exist, and options that exclude each other."""

from __future__ import annotations

import itertools
import re
import zoneinfo
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.account import ACCOUNT_NAME, TABLE_NAME
from enerflo_sync.crm.columns import ColumnDeclaration
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import (
    MIRROR_TABLES,
    FieldMapping,
    FieldType,
    RecordKind,
    Side,
    SourceOfTruth,
    TableMapping,
    Unlinked,
)
from enerflo_sync.crm.modes import Mode
from enerflo_sync.crm.names import relation
from enerflo_sync.crm.options import KeyColumn, KeyType
from enerflo_sync.crm.problems import Problem, listed, nearest
from enerflo_sync.crm.salesforce_checks import salesforce_problems
from enerflo_sync.crm.source import Place, Source
from enerflo_sync.crm.templates import columns_of
from enerflo_sync.crm.where import word_problem
from enerflo_sync.crm.wide import layout_problems
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.gaps.schedule import cron
from enerflo_sync.warehouse.schema import MIRROR_SCHEMA, metadata

_CRON = re.compile(r"@(hourly|daily|weekly|monthly)|\S+( \S+){4}")

# Columns of every mirror table that are ours, not Enerflo's.
OWN_COLUMNS = {
    "account",
    "observed_at",
    "observed_by",
    "absent_since",
    "deleted_at",
    "raw_hash",
    "content_hash",
}

_COMPARABLE: dict[type[Any], set[FieldType]] = {
    sa.Text: {FieldType.TEXT, FieldType.NUMBER, FieldType.INTEGER, FieldType.DATE, FieldType.TIMESTAMP},
    sa.Integer: {FieldType.TEXT, FieldType.NUMBER, FieldType.INTEGER},
    sa.Numeric: {FieldType.TEXT, FieldType.NUMBER, FieldType.INTEGER},
    sa.DateTime: {FieldType.TEXT, FieldType.TIMESTAMP, FieldType.DATE},
    sa.Date: {FieldType.TEXT, FieldType.DATE, FieldType.TIMESTAMP},
    sa.Boolean: {FieldType.TEXT, FieldType.BOOLEAN},
    sa.JSON: {FieldType.JSON},
}
_OPTIONS_OF_TYPES = {
    "tolerance": {FieldType.NUMBER},
    "tolerance_percent": {FieldType.NUMBER},
    "precision": {FieldType.TIMESTAMP},
    "trim": {FieldType.TEXT},
    "fold_case": {FieldType.TEXT},
    "values": {FieldType.TEXT},
    "time_zone": {FieldType.TIMESTAMP, FieldType.DATE},
}


def mirror_columns(
    kind: str, declared: Mapping[str, ColumnDeclaration]
) -> dict[str, sa.types.TypeEngine[Any]]:
    """Return the columns of a mirror table that a mapping may name, with their types.

    :param declared: the columns that ``columns`` adds to it.
    """
    built_in = metadata.tables[f"{MIRROR_SCHEMA}.{MIRROR_TABLES[kind]}"]
    found = {column.name: column.type for column in built_in.columns if column.name not in OWN_COLUMNS}
    return found | {name: column.type.sqlalchemy for name, column in declared.items()}


def name_problems(
    name: str, mapping: TableMapping, source: Source, place: Place, others: Iterable[str] = ()
) -> Iterator[Problem]:
    """Return what is wrong with a table's name: its form, or that it names no kind and ``of`` is missing.

    :param others: names of other tables, to suggest for a typing error.
    """
    if not TABLE_NAME.fullmatch(name):
        expected = "a small letter, then small letters, digits or _, 41 at most"
        yield source.problem(place, f"the table name '{name}'", expected)
    elif mapping.kind(name) not in MIRROR_TABLES:
        kinds = listed(MIRROR_TABLES)
        expected = f"the kind of its records as its name, or as its option of: {kinds}"
        near = nearest(name, [*others, *MIRROR_TABLES])
        yield source.problem(
            place, f"the table {name}, of which nothing says of what kind it is", expected, near
        )


def table_problems(
    kind: str,
    mapping: TableMapping,
    source: Source,
    place: Place,
    declared: Mapping[str, ColumnDeclaration],
) -> Iterator[Problem]:
    """Return contradictions in one table's mapping.

    :param declared: the columns that the file adds to the mirror's table.
    """
    try:
        relation(mapping.crm_table)
    except ValueError:
        yield source.problem(
            (*place, "crm_table"), f"the text '{mapping.crm_table}'", "schema.table, as in crm.installs"
        )
    yield from _outbox_problems(mapping, source, place)
    yield from salesforce_problems(mapping, source, place)
    yield from _key_problems(mapping, source, place)
    yield from _zone_problems(mapping.time_zone, source, (*place, "time_zone"))
    yield from layout_problems(kind, mapping, source, place)
    known = mirror_columns(kind, declared)
    if mapping.where is not None and (problem := word_problem(mapping.where)):
        yield source.problem((*place, "where"), *problem)
    named = mirror_columns(RecordKind.INSTALLS, {}) if mapping.is_wide else known
    yield from _pair_problems(mapping.key_kind(kind), mapping, source, place, named)
    for column, field in mapping.fields.items():
        here = (*place, mapping.section, column)
        if field.enerflo not in known:
            yield _unknown_column(source, (*here, "enerflo"), kind, field.enerflo, known)
        else:
            yield from _field_problems(field, known[field.enerflo], source, here)
    yield from _unlinked_problems(mapping, source, place)
    yield from _time_problems(mapping, source, place)
    yield from _planned_problems(kind, mapping, source, place, known)
    if mapping.updated_at_set_at_commit and (mapping.updated_at is None or mapping.arrived_at):
        yield source.problem(
            (*place, "updated_at_set_at_commit"),
            "true, with arrived_at beside it" if mapping.arrived_at else "true, without updated_at",
            "one column by which changed rows are found: updated_at, or arrived_at",
        )


def account_problems(config: SyncConfig, source: Source, left_out: Collection[str]) -> Iterator[Problem]:
    """Return contradictions in the accounts, in the poll's options and in the routes.

    :param left_out: names of accounts whose mistakes are already reported.
    """
    for name, account in config.accounts.items():
        place = ("accounts", name)
        if not ACCOUNT_NAME.fullmatch(name):
            yield source.problem(
                place,
                f"the account name '{name}'",
                "a small letter, then small letters, digits or _, 40 at most",
            )
        yield from _zone_problems(account.schedule.time_zone, source, (*place, "schedule", "time_zone"))
        for job in ("poll", "reconcile", "full_reconcile", "webhooks", "prune"):
            expression = getattr(account.schedule, job)
            if not _is_schedule(expression):
                yield source.problem(
                    (*place, "schedule", job), f"'{expression}'", "five cron fields, as in */15 * * * *"
                )
    if config.poll.min_per_page > config.poll.per_page:
        yield source.problem(
            ("poll", "min_per_page"),
            str(config.poll.min_per_page),
            f"at most per_page, {config.poll.per_page}",
        )
    # The mistake may be the name of the account's file: West.yaml.
    refused = {name.lower() for name in left_out}
    for name, route in config.notify.routes.items():
        for wanted in route.accounts:
            if wanted not in config.accounts and wanted not in refused:
                yield source.problem(
                    ("notify", "routes", name, "accounts"),
                    f"the account {wanted}",
                    listed(config.accounts),
                    nearest(wanted, config.accounts),
                )


def shared_table_problems(
    tables: Mapping[str, TableMapping], mode: Mode, source: Source, places: Mapping[str, Place]
) -> Iterator[Problem]:
    """Yield tables of one account that write the same CRM table under different keys, and send from it.

    What one of them writes is stored under its key. The other one would not find it there, and would send it
    to Enerflo as an edit by a person.

    :param mode: the account's.
    :param places: where each table stands in the file.
    """
    writes = {name: (mapping.mode or mode).writes for name, mapping in tables.items()}
    written = [name for name in tables if writes[name]]
    for name, other in itertools.combinations(written, 2):
        if "to_enerflo" not in writes[name] | writes[other]:
            continue
        mine, theirs = tables[name], tables[other]
        one_table = _same_relation(mine.crm_table, theirs.crm_table)
        if not one_table or set(mine.key_columns) == set(theirs.key_columns):
            continue
        shared = sorted(mine.fields.keys() & theirs.fields.keys())
        if shared or mine.goes_by_time or theirs.goes_by_time:
            what = f"the column {shared[0]} in both" if shared else "a field of newest in one of them"
            yield source.problem(
                (*places[other], "key"),
                f"{', '.join(theirs.key_columns)} for {theirs.crm_table}, with {what}; {name} has the key"
                f" {', '.join(mine.key_columns)}",
                "the same key columns in both tables, so that each knows what the other wrote; join names"
                " Enerflo's record where the key does not",
            )


def _same_relation(one: str, other: str) -> bool:
    try:
        return relation(one) == relation(other)
    except ValueError:
        return False


@lru_cache(maxsize=1024)
def _is_schedule(expression: str) -> bool:
    """Return whether Airflow accepts a cron expression; a wrong one in a DAG stops its whole file."""
    if not _CRON.fullmatch(expression):
        return False
    try:
        cron(expression)
    except ConfigurationError:
        return False
    return True


def _outbox_problems(mapping: TableMapping, source: Source, place: Place) -> Iterator[Problem]:
    """Yield an invalid name of the table for handed-over changes, or one that names the copy itself."""
    if mapping.handed_to is None:
        return
    named = mapping.handed_to.changes
    where = (*place, "write_to") if isinstance(mapping.write_to, str) else (*place, "write_to", "changes")
    try:
        same = relation(named) == relation(mapping.crm_table)
    except ValueError:
        yield source.problem(where, f"the text '{named}'", "schema.table, as in sales.crm_changes")
        return
    if same:
        expected = "another table than the copy: the next copy would overwrite it"
        yield source.problem(where, f"{named}, the table of crm_table", expected)


def _key_problems(mapping: TableMapping, source: Source, place: Place) -> Iterator[Problem]:
    if not mapping.key:
        yield source.problem((*place, "key"), "no column", "at least one column")
    elif isinstance(mapping.key, list) and not mapping.join:
        expected = "{crm column: mirror column}, or a join option beside the list"
        yield source.problem((*place, "key"), "a list of columns and no join", expected)
    elif isinstance(mapping.key, dict) and mapping.join is not None:
        expected = "a list of CRM columns as key where there is a join option"
        yield source.problem((*place, "key"), "both a key that is matched and a join", expected)


def _pair_problems(
    name: str,
    mapping: TableMapping,
    source: Source,
    place: Place,
    known: dict[str, sa.types.TypeEngine[Any]],
) -> Iterator[Problem]:
    """Yield columns of key, join and adopt that the mirror lacks, or that cannot be compared this way."""
    keys = mapping.key if isinstance(mapping.key, dict) else {}
    own = known | dict.fromkeys(OWN_COLUMNS, sa.Text())
    for option, pairs, columns in (
        ("key", keys, known),
        ("join", mapping.join or {}, known),
        ("adopt", mapping.adopt, own),
    ):
        for crm, pair in pairs.items():
            here = (*place, option, crm)
            mirror = pair.enerflo if isinstance(pair, KeyColumn) else pair
            if mirror not in columns:
                where = (*here, "enerflo") if isinstance(pair, KeyColumn) else here
                yield _unknown_column(source, where, name, mirror, known)
            elif isinstance(pair, KeyColumn):
                yield from _key_option_problems(pair, columns[mirror], source, here)


def _key_option_problems(
    pair: KeyColumn, column: sa.types.TypeEngine[Any], source: Source, place: Place
) -> Iterator[Problem]:
    if pair.type is not KeyType.INTEGER:
        return
    if not isinstance(column, sa.Integer | sa.Numeric | sa.Text):
        found = f"type integer for the mirror's column {pair.enerflo} ({str(column).lower()})"
        yield source.problem((*place, "type"), found, "text, or a column of whole numbers")
    if pair.fold_case:
        expected = "fold_case only where type is text"
        yield source.problem((*place, "fold_case"), "fold_case with type integer", expected)


def _unlinked_problems(mapping: TableMapping, source: Source, place: Place) -> Iterator[Problem]:
    """Yield options for rows without a key in a table that ignores such rows."""
    if mapping.unlinked is Unlinked.REPORT:
        return
    for option, wanted in (("adopt", bool(mapping.adopt)), ("create_in", Side.ENERFLO in mapping.create_in)):
        if wanted:
            expected = f"report where rows without a key are taken up ({option})"
            yield source.problem((*place, "unlinked"), f"ignore, with {option} beside it", expected)


def _time_problems(mapping: TableMapping, source: Source, place: Place) -> Iterator[Problem]:
    """Yield fields of ``newest`` in a table that does not say when its rows changed."""
    for column, field in mapping.fields.items():
        if field.source_of_truth is SourceOfTruth.NEWEST and mapping.updated_at is None:
            expected = (
                "updated_at: the CRM's column with the row's last change, beside the fields;"
                " or enerflo, crm or review"
            )
            where = (*place, mapping.section, column, "source_of_truth")
            yield source.problem(where, "newest in a table without updated_at", expected)


def _planned_problems(
    kind: str,
    mapping: TableMapping,
    source: Source,
    place: Place,
    mapped: dict[str, sa.types.TypeEngine[Any]],
) -> Iterator[Problem]:
    """Yield columns that a plan should read from the mirror and that the mirror lacks."""
    known = mapped | dict.fromkeys(OWN_COLUMNS, sa.Text())
    named: dict[Place, list[str]] = {}
    for column, texts in mapping.on_insert.items():
        try:
            named[("on_insert", column)] = columns_of(texts)
        except ValueError as error:
            yield source.problem((*place, "on_insert", column), str(error), "text with {column} in it")
    for where, mirrors in named.items():
        for mirror in mirrors:
            if mirror not in known:
                yield _unknown_column(source, (*place, *where), kind, mirror, mapped)


def _field_problems(
    field: FieldMapping, column: sa.types.TypeEngine[Any], source: Source, place: Place
) -> Iterator[Problem]:
    allowed = next(
        (types for base, types in _COMPARABLE.items() if isinstance(column, base)), {FieldType.TEXT}
    )
    if field.type not in allowed:
        yield source.problem(
            (*place, "type"),
            f"type {field.type} for the mirror's column {field.enerflo} ({str(column).lower()})",
            listed(sorted(allowed)),
        )
    for option, types in _OPTIONS_OF_TYPES.items():
        if option in field.model_fields_set and field.type not in types:
            expected = f"{option} only where type is {' or '.join(sorted(types))}"
            yield source.problem((*place, option), f"{option} with type {field.type}", expected)
    if field.time_zone is not None:
        yield from _zone_problems(field.time_zone, source, (*place, "time_zone"))


def _zone_problems(zone: str, source: Source, place: Place) -> Iterator[Problem]:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        # Reads every file of the time zone database.
        known = zoneinfo.available_timezones()
        near = nearest(zone, known) or nearest(zone.rpartition("/")[2], known)
        yield source.problem(place, f"the text '{zone}'", "a time zone, as in America/Denver", near)


def _unknown_column(
    source: Source, place: Place, kind: str, name: str, known: dict[str, sa.types.TypeEngine[Any]]
) -> Problem:
    relation_name = f"{MIRROR_SCHEMA}.{MIRROR_TABLES[kind]}"
    near = nearest(name, known)
    # The mirror may have it still, of a line that was removed.
    or_declared = "" if near else f"; or a line of its own: columns.{kind}.{name}: {{path: …, type: …}}"
    return source.problem(
        place,
        f"the column {name}",
        f"a column of {relation_name}: {listed(known, limit=24)}{or_declared}",
        near,
    )
