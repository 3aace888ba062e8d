"""The doctor's preview of the match: one check for each mapped table."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from enerflo_sync.cli.check import Check
from enerflo_sync.counted import count_of
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.reconcile.fit.keys import KeyFit
from enerflo_sync.reconcile.fit.preview import TableFit, table_fits
from enerflo_sync.warehouse.engine import warehouse_errors


def match_checks(context: AccountContext) -> Iterator[Check]:
    """Yield how the rows of both sides of each table match; reads only, and stops nothing."""
    try:
        with warehouse_errors("doctor"), context.engine.connect() as connection, connection.begin():
            connection.exec_driver_sql("set transaction read only")
            fits = list(table_fits(connection, context.config, context.account, context.config_path))
    except EnerfloSyncError as error:
        yield Check("match", str(error), failed=True)
        return
    for fit in fits:
        yield _check(fit)


def _check(fit: TableFit) -> Check:
    if fit.keys is None:
        return Check(f"match.{fit.table}", fit.why_not, made=False)
    figures = {"match": msgspec.to_builtins(fit.keys)}
    return Check(f"match.{fit.table}", _counts(fit.keys), findings=list(fit.findings), figures=figures)


def _counts(keys: KeyFit) -> str:
    """Return how the keys meet, in one line."""
    sample = f"of a sample of one key in {keys.every:,}: " if keys.every > 1 else ""
    parts = [
        f"{keys.matched:,} CRM rows match",
        f"{keys.only_enerflo:,} only in Enerflo",
        f"{keys.only_crm:,} only in the CRM",
        f"{keys.without_key:,} without a key",
    ]
    if keys.duplicate_keys:
        parts.append(f"{keys.duplicate_rows:,} share {count_of(keys.duplicate_keys, 'key')}")
    return sample + ", ".join(parts)
