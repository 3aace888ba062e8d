"""The comparisons of an account's mapped tables, checked against the live database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from enerflo_sync.crm.catalog import LiveTable, live_tables, writable_columns_of
from enerflo_sync.crm.chosen_rows import keys_proven, no_row_left
from enerflo_sync.crm.columns import column_places, declared
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.doctor import Finding, Severity, check_table, finding
from enerflo_sync.crm.keys import case_folding
from enerflo_sync.crm.live.writable import as_writable
from enerflo_sync.crm.mapping import MIRROR_TABLES, TableMapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.reconcile.compare import Comparison, plan_comparison
from enerflo_sync.reconcile.forgotten import without_forgotten
from enerflo_sync.reconcile.meanings import with_changed_meanings
from enerflo_sync.warehouse.declared import DeclaredColumn, require_filled

__all__ = ["case_folding", "further_comparisons", "live_comparisons", "live_relations", "require_rows"]

Relations = Mapping[tuple[str, str], LiveTable]


def _mapped_columns(config: SyncConfig, tables: Mapping[str, TableMapping]) -> list[DeclaredColumn]:
    """Return the declared columns that tables are mapped to."""
    named = {
        (MIRROR_TABLES[mapping.kind(name)], mirror)
        for name, mapping in tables.items()
        for mirror in mapping.mirror_columns
    }
    return [one for one in declared(config.columns) if (one.table, one.name) in named]


def live_relations(connection: sa.Connection, config: SyncConfig, account: str) -> Relations:
    """Return what the catalog says about the account's mapped tables."""
    return live_tables(connection, [mapping.relation for mapping in config.tables_for(account).values()])


def live_comparisons(
    connection: sa.Connection,
    config: SyncConfig,
    account: str,
    fold: str,
    *,
    all_tables: bool = False,
    only: str | None = None,
    relations: Relations | None = None,
) -> list[Comparison]:
    """Return the comparison of each reconciled table, or of each mapped one, in the order of the contract.

    :param all_tables: for a plan: check also the columns that only a plan needs, and skip our checks of what
        a handed-over table accepts.
    :param only: the one table to check; mistakes of other tables are then ignored.
    :param fold: from :func:`case_folding`.
    :param relations: from :func:`live_relations`, if the caller has read it; absent: it is read here.
    :raises ConfigurationError: the mapping does not fit the live tables; the text lists every mismatch.
    """
    tables = {
        name: mapping
        for name, mapping in config.tables_for(account).items()
        if (mapping.reconcile or all_tables) and only in (None, name)
    }
    places = column_places(config.columns, config.spot)
    require_filled(connection, account, _mapped_columns(config, tables), places)
    if relations is None:
        relations = live_tables(connection, [mapping.relation for mapping in tables.values()])
    # The CRM itself makes handed-over changes, so the limits of our table or view do not apply.
    ours = {
        name: mapping.relation
        for name, mapping in tables.items()
        if all_tables and "to_crm" in config.mode_of(account, name).writes and mapping.handed_to is None
    }
    writable = writable_columns_of(connection, ours.values()) if ours else {}
    found, problems = [], []
    for name, mapping in tables.items():
        live, findings = check_table(
            connection, config, account, name, config.file, to_plan=all_tables, relations=relations
        )
        errors = [finding for finding in findings if finding.severity is Severity.ERROR]
        problems += errors
        if live is not None and not errors:
            proven = keys_proven(connection, mapping, live, fold)
            mode = config.mode_of(account, name)
            if name in ours:
                mapping = as_writable(mapping, writable[ours[name]])
            found.append(plan_comparison(name, mapping, live, fold=fold, mode=mode, proven=proven))
    _require_none(problems)
    found = with_changed_meanings(connection, config, account, found)
    return without_forgotten(connection, account, found)


def require_rows(
    connection: sa.Connection, config: SyncConfig, account: str, comparisons: Sequence[Comparison]
) -> None:
    """Require that ``where`` leaves some rows of each table that has rows, before anything is compared.

    :raises ConfigurationError: it leaves no rows, so every record of Enerflo would seem to be missing. It may
        leave none where all rows belong to other mappings of the table.
    """
    names = {comparison.name: comparison.live for comparison in comparisons}
    left = {name: no_row_left(connection, config, account, name, live) for name, live in names.items()}
    _require_none(
        [finding(config, account, name, one, config.file) for name, one in left.items() if one is not None]
    )


def _require_none(problems: Sequence[Finding]) -> None:
    if problems:
        raise ConfigurationError(
            "\n".join(f"{problem} {problem.next_step}" for problem in problems),
            next_step="enerflo-sync doctor shows the whole mapping against the live tables.",
        )


def further_comparisons(
    connection: sa.Connection, config: SyncConfig, account: str, fold: str, relations: Relations
) -> list[Comparison]:
    """Return the comparison of each table that plans use and reconciliations do not compare.

    A table whose mapping does not fit its live table is left out: the plan reports it.

    :param relations: from :func:`live_relations`.
    """
    found = []
    for name, mapping in config.tables_for(account).items():
        if mapping.reconcile:
            continue
        live, findings = check_table(
            connection, config, account, name, config.file, to_plan=False, relations=relations
        )
        if live is not None and not any(one.severity is Severity.ERROR for one in findings):
            proven = keys_proven(connection, mapping, live, fold)
            mode = config.mode_of(account, name)
            found.append(plan_comparison(name, mapping, live, fold=fold, mode=mode, proven=proven))
    return without_forgotten(connection, account, found)


def live_digest(comparisons: Sequence[Comparison], in_flight_minutes: int) -> str:
    """Return the digest of live types, keys and delay; if it changes, carried causes may be wrong."""
    text = f"{in_flight_minutes};" + ";".join(
        f"{comparison.name}:{comparison.live.schema}.{comparison.live.name}:{comparison.unique}:"
        + ",".join(f"{column.name} {column.type}" for column in comparison.live.columns.values())
        for comparison in comparisons
    )
    return hashlib.sha256(text.encode()).hexdigest()
