"""Checks of ``where`` and of typed keys against the live table, for the doctor and for comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from enerflo_sync.counted import count_of
from enerflo_sync.crm.catalog import Kind, LiveTable
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.keys import (
    INTEGER_KINDS,
    as_text,
    is_indexed,
    key_value,
    may_meet,
    proves_unique,
    sql_type,
)
from enerflo_sync.crm.mapping import NOT_NULL, TableMapping
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.notice import Notice
from enerflo_sync.crm.options import KeyColumn, KeyType
from enerflo_sync.crm.problems import listed, nearest
from enerflo_sync.crm.where import condition_problem, excludes_everything, met_by, named_columns, rows_where

_PART = "Give both a where that no row meets twice."
# Rows that belong to two mappings are counted up to this number.
_ENOUGH = 1_000
_SPELLINGS = {True: ("true", "t", "yes", "y", "on", "1"), False: ("false", "f", "no", "n", "off", "0")}


def misfits(connection: sa.Connection, mapping: TableMapping, table: LiveTable) -> Iterator[Notice]:
    """Yield what prevents a comparison: a condition or key that the table's columns do not accept."""
    if mapping.condition is not None and (problem := condition_problem(connection, mapping.condition, table)):
        found, expected = problem
        yield Notice("error", ("where",), found, expected, _where_step(mapping.condition, found, table))
    for option, column, key in _typed(mapping):
        live = table.columns.get(column)
        if live is not None and key.type is KeyType.INTEGER and live.kind not in INTEGER_KINDS:
            yield Notice(
                "error",
                (option, column, "type"),
                f"column {column} of type {live.type} for a key of type integer",
                f"a column of one of these: {listed(sorted(INTEGER_KINDS))}",
                "Write type: text.",
            )
    for option in ("key", "join"):
        for column in getattr(mapping, option) or ():
            live = table.columns.get(column)
            if live is not None and live.of_domain and live.is_listed:
                yield Notice(
                    "error",
                    (option, column),
                    f"column {column} of type {live.type}, a domain over an enumeration",
                    f"the enumeration {live.of_domain} itself, or text",
                    "Change the column's type: PostgreSQL does not compare two values of such a domain.",
                )


def _where_step(text: str, found: str, table: LiveTable) -> str:
    known = {name.lower(): name for name, column in table.columns.items() if column.readable}
    missing = found.partition('column "')[2].partition('" does not exist')[0]
    if not missing:
        return "Correct the condition; enerflo-sync doctor checks it again."
    if missing.lower() in known:
        return f"Write the name in double quotes: {quoted(known[missing.lower()])}."
    near = nearest(missing, table.columns)
    return f"Did you mean {near}?" if near else f"The table has {listed(known.values(), limit=30)}."


def no_row_left(
    connection: sa.Connection, config: SyncConfig, account: str, name: str, table: LiveTable
) -> Notice | None:
    """Return that ``where`` excludes all rows of a table; None if it does not.

    It may exclude all if each belongs to another mapping of the table, as of a branch that has no row yet.
    """
    mapping = config.tables_for(account)[name]
    mine = mapping.condition
    if mine is None:
        return None
    others: list[str] = []
    for _, _, theirs in of_one_table(config, account, name):
        if mapping.is_kept:
            others += in_other_copy(connection, mapping, theirs)
        elif theirs.condition is not None and not condition_problem(connection, theirs.condition, table):
            others.append(met_by(theirs.condition, table, "t"))
    if not excludes_everything(connection, mine, table, others):
        return None
    return Notice(
        "error",
        ("where",),
        f"a condition that no row of {table.schema}.{table.name} meets",
        "one that some of its rows meet",
        "Compare it with the values that the columns hold; every record would be taken for a missing one.",
    )


def in_other_copy(connection: sa.Connection, mapping: TableMapping, theirs: TableMapping) -> Iterator[str]:
    """Yield the condition that a row ``t`` of a mapping's copy belongs to another one, by that one's copy.

    Each copy says of the rows of the CRM's table whether they meet the ``where`` of its own mapping.
    """
    keys = mapping.key_columns
    if theirs.is_kept and theirs.condition is not None and set(keys) == set(theirs.key_columns):
        copy = quoted(*theirs.relation)
        if connection.scalar(sa.text("select to_regclass(:copy)"), {"copy": copy}) is not None:
            same = " and ".join(f"o.{quoted(key)} is not distinct from t.{quoted(key)}" for key in keys)
            yield f"exists (select from {copy} o where {same} and o.{theirs.condition})"


def hidden_rows(table: LiveTable) -> Iterator[Notice]:
    """Yield that policies of the table may hide rows from the present role, which then seem to be missing."""
    if table.hides_rows:
        yield Notice(
            "warning",
            ("crm_table",),
            f"row-level security of {table.schema}.{table.name} that applies to the present role",
            "a role that sees every row",
            "A record whose row is hidden counts as missing. Let the role see every row: by a policy for"
            " select using (true), or by alter role ... bypassrls; or map a view of the rows that count.",
        )


def unfilled(mapping: TableMapping, table: LiveTable) -> Iterator[Notice]:
    """Yield columns that ``where`` requires in a row and that nothing fills in a new row."""
    if mapping.condition is not None:
        filled = {*mapping.key, *mapping.join_columns, *mapping.fields, *mapping.on_insert}
        named = named_columns(mapping.condition, table)
        empty = [name for name in named if name not in filled]
        if empty:
            yield Notice(
                "warning",
                ("where",),
                f"{listed(empty)}, which nothing fills in a new row",
                "columns that fields, key or on_insert fill, or that the table fills by itself",
                "A new row that does not meet the condition is taken back, and its changes are parked.",
            )


def unindexed(
    connection: sa.Connection, mapping: TableMapping, table: LiveTable, fold: str
) -> Iterator[Notice]:
    """Yield a hint if no index finds a single row by its typed key, which is an expression."""
    columns = mapping.join_columns
    raw = [f"t.{quoted(name)}" for name in columns]
    keys = key_expressions(mapping, table, fold, "t.")
    if table.view or [key for key, _ in keys] == raw or is_indexed(connection, rows_where(None, table), keys):
        return
    own = ", ".join(f"({key})" for key, _ in key_expressions(mapping, table, fold, ""))
    yield Notice(
        "hint",
        ("key" if mapping.join is None else "join",),
        "no index on the key as it is compared",
        "one, for fast looks at single rows",
        f"Run: create index on {quoted(table.schema, table.name)} ({own});".replace("%%", "%"),
    )


def key_expressions(
    mapping: TableMapping, table: LiveTable, fold: str, alias: str = ""
) -> Sequence[tuple[str, str]]:
    """Return the expressions by which rows are matched, each with its SQL type.

    :param alias: the alias of the row.
    """
    found = []
    for column in mapping.join_columns:
        options, live = mapping.key_options(column), table.columns[column]
        raw = f"{alias}{quoted(column)}"
        if options is None:
            found.append((as_text(raw, live), "text") if live.loose else (raw, live.sql_type))
        else:
            plain = as_text(raw, live) if live.kind is Kind.TEXT else raw
            found.append((key_value(plain, live.kind, options, fold), sql_type(options)))
    return found


def keys_proven(connection: sa.Connection, mapping: TableMapping, table: LiveTable, fold: str) -> bool:
    """Return whether an index proves that no two rows that count share a key, however it is spelled."""
    if not (table.has_expression_index and may_share_keys(mapping, table)):
        return False
    keys = key_expressions(mapping, table, fold, "t.")
    return proves_unique(connection, rows_where(mapping.condition, table), keys)


def may_share_keys(mapping: TableMapping, table: LiveTable) -> bool:
    """Return whether two different values of a key column can be the same key."""
    typed = ((column, mapping.key_options(column)) for column in mapping.join_columns)
    return any(options is not None and may_meet(table.columns[name].kind, options) for name, options in typed)


def _typed(mapping: TableMapping) -> Iterator[tuple[str, str, KeyColumn]]:
    keys = mapping.key if isinstance(mapping.key, dict) else {}
    for option, pairs in (("key", keys), ("join", mapping.join or {}), ("adopt", mapping.adopt)):
        for column, pair in pairs.items():
            if isinstance(pair, KeyColumn):
                yield option, column, pair


def shared_tables(config: SyncConfig, account: str, name: str) -> Iterator[Notice]:
    """Yield the other tables, of this or another account, that read the same rows of one CRM table."""
    mapping = config.tables_for(account)[name]
    for _, whose, theirs in of_one_table(config, account, name):
        if mapping.where is not None and theirs.where is not None and mapping.where != theirs.where:
            continue
        how = "has the same where" if theirs.where and mapping.where else "is not parted from it by where"
        yield Notice(
            "warning",
            ("where",) if mapping.where else ("crm_table",),
            f"{mapping.crm_table}, which {whose} reads as well and {how}",
            "rows of one mapping each",
            _PART,
        )


def shared_rows(
    connection: sa.Connection, config: SyncConfig, account: str, name: str, live: LiveTable
) -> Iterator[Notice]:
    """Yield the other tables that read the same CRM table by another ``where``, if rows meet both."""
    mapping = config.tables_for(account)[name]
    mine = mapping.condition
    for _, whose, theirs in of_one_table(config, account, name):
        other = theirs.condition
        if mine is None or other is None or mine == other or condition_problem(connection, other, live):
            continue
        both = f"{met_by(mine, live, 't')} and {met_by(other, live, 't')}"
        table = quoted(live.schema, live.name)
        query = f"""
        /* enerflo-sync doctor: rows that belong to two mappings */
        select count(*) from (select from {table} t where {both} limit {_ENOUGH}) s
        """  # noqa: S608 - checked conditions
        rows = connection.exec_driver_sql(query, {}).scalar_one()
        if rows:
            several = f"{_ENOUGH:,} and more rows" if rows == _ENOUGH else count_of(rows, "row")
            found = f"{several} of {mapping.crm_table} that also meet the where of {whose}"
            yield Notice("warning", ("where",), found, "rows of one mapping each", _PART)


def of_one_table(config: SyncConfig, account: str, name: str) -> Iterator[tuple[str, str, TableMapping]]:
    """Yield the other mappings of a CRM table for one kind of records, with account and name in words."""
    mapping = config.tables_for(account)[name]
    for other in config.accounts:
        if other != account and not _may_be_one_database(config, account, other):
            continue
        for table, theirs in config.tables_for(other).items():
            itself = (other, table) == (account, name)
            # One table may hold several kinds of records, but each kind's rows belong to one mapping.
            if itself or theirs.crm_table != mapping.crm_table or theirs.kind(table) != mapping.kind(name):
                continue
            yield other, f"{table} of account {other}" if other != account else table, theirs


def _may_be_one_database(config: SyncConfig, account: str, other: str) -> bool:
    """Return whether two accounts may have the same warehouse, as far as the file shows."""
    mine, theirs = config.accounts[account], config.accounts[other]
    if mine.crm is not None or theirs.crm is not None:
        return mine.crm == theirs.crm
    if mine.warehouse_url and theirs.warehouse_url:
        return mine.warehouse_url == theirs.warehouse_url
    return mine.airflow.warehouse_connection == theirs.airflow.warehouse_connection


def duplicates(
    connection: sa.Connection, mapping: TableMapping, table: LiveTable, fold: str
) -> Iterator[Notice]:
    """Yield keys that several rows share, if no index rules that out."""
    matched = "key" if mapping.join is None else "join"
    for option, columns in (("key", mapping.key_columns), ("join", tuple(mapping.join or ()))):
        typed = option == matched and may_share_keys(mapping, table)
        if not columns or (table.unique_by(columns) and not typed):
            continue
        values = [quoted(column) for column in columns]
        if typed:
            values = [value for value, _ in key_expressions(mapping, table, fold)]
        known = " and ".join(f"({value}) is not null" for value in values) + unmarked(mapping)
        query = (
            f"/* enerflo-sync doctor: duplicates */ select count(*) from (select 1 from "  # noqa: S608
            f"{rows_where(mapping.where, table)} t where {known} group by {', '.join(values)}"
            " having count(*) > 1) as d"
        )
        count = connection.exec_driver_sql(query, {}).scalar_one()
        if count:
            noun = "value" if count == 1 else "values"
            yield Notice(
                "warning",
                (option,),
                f"{count:,} {noun} of {', '.join(columns)} that more than one row has",
                "one row for each",
                "Those rows are reported as duplicate_identity and not compared field by field.",
            )


def unmarked(mapping: TableMapping) -> str:
    """Return `` and …``: a row is not marked as deleted; ``""`` where the table has no marks."""
    conditions = ""
    for column, value in mapping.deleted_when.items():
        text = f"lower({quoted(column)}::text)"
        if value == NOT_NULL:
            conditions += f" and {quoted(column)} is null"
        elif isinstance(value, bool):
            spelled = ", ".join(literal(word) for word in _SPELLINGS[value])
            conditions += f" and ({text} in ({spelled})) is not true"
        else:
            conditions += f" and ({quoted(column)}::text = {literal(str(value))}) is not true"
    return conditions
