"""Reconciliations in the warehouse: the report as one document, the differences as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.mapping import RecordKind, TableMapping
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.mirror.details import milestone_looks
from enerflo_sync.reconcile.levels import Level
from enerflo_sync.reconcile.looks import Look
from enerflo_sync.reconcile.render.stored_verdict import stored_verdict
from enerflo_sync.reconcile.report import (
    Cause,
    Difference,
    ReconciliationReport,
    Scope,
    StoredDifference,
    TrendPoint,
)
from enerflo_sync.resources.registry import KINDS
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.schema import differences, reconciliations, watermarks
from enerflo_sync.warehouse.set_back import future_of

TREND_LENGTH = 30
# The newest is among this many that began last, since no more run at once.
MOST_AT_ONCE = 10

# By table and field: the field's class of personal data.
Classes = Mapping[tuple[str, str], PersonalData]


def forget_attempt(connection: sa.Connection, account: str, reconciliation_id: str) -> None:
    """Delete what an earlier attempt with the same id stored: a retried task uses its id again."""
    for table in (differences, reconciliations):
        connection.execute(
            sa.delete(table).where(table.c.account == account, table.c.reconciliation_id == reconciliation_id)
        )


def bring_to_past(connection: sa.Connection, account: str, now: datetime) -> None:
    """Move earlier reconciliations to the past if their time lies in the future: the clock was set back.

    Pages and plans find the newest reconciliation by its time. Without this they would show the earlier one
    until its time comes.
    """
    table, before = reconciliations.c, now - timedelta(microseconds=1)
    connection.execute(
        sa.update(reconciliations)
        .where(table.account == account, table.compared_until > future_of(now))
        .values(
            started_at=sa.case((table.started_at > before, before), else_=table.started_at),
            finished_at=sa.case((table.finished_at > before, before), else_=table.finished_at),
            compared_until=before,
        )
    )


def store_report(
    connection: sa.Connection,
    report: ReconciliationReport,
    compared_until: datetime,
    live: str,
    looks: Mapping[str, Look],
    levels: Mapping[str, Level],
) -> None:
    """Store a finished report beside its differences.

    :param live: digest of the compared live types, for the next incremental run.
    :param looks: how far this run has seen the CRM's tables, for the next incremental run.
    :param levels: how many rows the CRM's tables have, for the next run's check of sudden losses.
    """
    content = msgspec.to_builtins(report, str_keys=True)
    content |= {"live": live, "looks": msgspec.to_builtins(looks, str_keys=True)}
    content["levels"] = msgspec.to_builtins(levels)
    connection.execute(
        sa.insert(reconciliations).values(
            account=report.account,
            reconciliation_id=report.reconciliation_id,
            started_at=report.started_at,
            finished_at=report.finished_at,
            scope=str(report.scope),
            config_hash=report.config_hash,
            compared_until=compared_until,
            differences=report.differences,
            unexplained=report.unexplained,
            report=content,
            summary=msgspec.to_builtins(stored_verdict(report), str_keys=True),
        )
    )


def load_report(
    engine: sa.Engine, account: str, reconciliation_id: str | None = None
) -> ReconciliationReport:
    """Return a stored report, the account's newest where no id is given. Its samples are masked.

    :raises ConfigurationError: no reconciliation has that id, or the account has none yet.
    """
    table = reconciliations.c
    query = sa.select(table.report, table.compared_until, table.started_at).where(table.account == account)
    if reconciliation_id is not None:
        query = query.where(table.reconciliation_id == reconciliation_id)
    # The index is ordered by the start time.
    last = query.order_by(table.started_at.desc()).limit(MOST_AT_ONCE).subquery().c
    newest = sa.select(last.report).order_by(last.compared_until.desc(), last.started_at.desc()).limit(1)
    with warehouse_errors("a look at a report"), engine.connect() as connection:
        content = connection.scalar(newest)
    if content is None:
        raise ConfigurationError(
            f"there is no reconciliation {reconciliation_id}." if reconciliation_id else "there is none yet.",
            where=f"sync.reconciliations, account {account}",
            next_step="Run enerflo-sync reconcile first.",
        )
    return msgspec.convert(content, ReconciliationReport, strict=False)


def read_differences(
    engine: sa.Engine,
    config: SyncConfig,
    account: str,
    reconciliation_id: str,
    *,
    table_name: str | None = None,
    cause: Cause | None = None,
    reveal: bool = False,
) -> Iterator[StoredDifference]:
    """Yield a reconciliation's stored differences by table, key and field, in bounded memory.

    Values of fields with a class of personal data are masked unless ``reveal``, in keys as well. A field that
    the mapping no longer has is masked as a whole, since its class is unknown.
    """
    tables = config.tables_for(account)
    query = sa.select(differences).where(
        differences.c.account == account, differences.c.reconciliation_id == reconciliation_id
    )
    if table_name is not None:
        query = query.where(differences.c.table_name == table_name)
    if cause is not None:
        query = query.where(differences.c.cause == str(cause))
    query = query.order_by(differences.c.table_name, differences.c.key, differences.c.field.nulls_first())
    classes = personal_data_classes(tables)
    with warehouse_errors("a look at differences"), engine.connect() as connection:
        rows = connection.execution_options(stream_results=True, max_row_buffer=1000).execute(query)
        for row in rows.mappings():
            yield stored_difference(dict(row), classes, reveal=reveal)


def stored_difference(row: Mapping[str, Any], classes: Classes, *, reveal: bool = False) -> StoredDifference:
    """Return one stored row with the time since which it differs, masked as :func:`difference` does."""
    found = difference(row, classes, reveal=reveal)
    return StoredDifference(**msgspec.structs.asdict(found), since=row["since"])


def personal_data_classes(tables: Mapping[str, TableMapping]) -> Classes:
    """Return the class of every mapped column by table and column: of fields, and of other keys."""
    return {
        (str(name), column): kind
        for name, mapping in tables.items()
        for column, kind in mapping.personal_kinds.items()
    }


def masked_key(table: str, key: Mapping[str, Any], classes: Classes) -> dict[str, Any]:
    """Return a row's key, each part masked by the class of its field; a part that is no field is an id."""
    return {name: mask(part, classes.get((table, name), PersonalData.NONE)) for name, part in key.items()}


def masked_record(table: str, value: Any, classes: Classes) -> Any:
    """Return a side's value of a whole record, masked: its key, or the rows of a repeated key."""
    if not isinstance(value, dict):
        return value
    if not isinstance(value.get("keys"), list):
        return masked_key(table, value, classes)
    rows = {name: value[name] for name in ("keys", "values") if name in value}
    hidden = {name: [masked_key(table, one, classes) for one in some] for name, some in rows.items()}
    return {**value, **hidden}


def difference(row: Mapping[str, Any], classes: Classes, *, reveal: bool) -> Difference:
    """Return one stored row as a difference, masked by the classes of its fields unless ``reveal``."""
    table, field, key = row["table_name"], row["field"], row["key"]
    mine, theirs, cause = row["enerflo_value"], row["crm_value"], Cause(row["cause"])
    hint = row["hint"] and row["hint"].partition(":")[0]
    if reveal:
        return Difference(table, key, field, mine, theirs, cause, hint=hint)
    key = masked_key(table, key, classes)
    if field is None:
        mine, theirs = (masked_record(table, value, classes) for value in (mine, theirs))
        return Difference(table, key, None, mine, theirs, cause)
    kind = classes.get((table, field), PersonalData.FREE_TEXT)
    hidden = kind is not PersonalData.NONE
    return Difference(table, key, field, mask(mine, kind), mask(theirs, kind), cause, hidden, hint)


def read_whole(connection: sa.Connection, account: str) -> dict[str, datetime]:
    """Return by kind until when Enerflo's list was read as a whole; kinds that never were are missing.

    A list is complete as of the start of its reading. Milestones come with the installs' list; or install by
    install, some in each poll, and are then as of the oldest of these reads.
    """
    rows = connection.execute(
        sa.select(watermarks.c.name, watermarks.c.value).where(watermarks.c.account == account)
    )
    marks: dict[str, datetime] = {row.name: row.value for row in rows}
    whole = {kind: marks[one.name] for kind, (one, _) in KINDS.items() if one.name in marks}
    looks = milestone_looks(connection, account)
    if RecordKind.MILESTONES in whole and looks.oldest is not None:
        whole[RecordKind.MILESTONES] = min(whole[RecordKind.MILESTONES], looks.oldest)
    elif looks.never:
        whole.pop(RecordKind.MILESTONES, None)
    return whole


def last_full_at(connection: sa.Connection, account: str) -> datetime | None:
    """Return when every row was last compared, ``None`` if that never happened."""
    table = reconciliations.c
    ended: datetime | None = connection.scalar(
        sa.select(sa.func.max(table.compared_until)).where(
            table.account == account, table.scope == str(Scope.FULL), table.finished_at.is_not(None)
        )
    )
    return ended


def earlier_run(
    connection: sa.Connection, account: str, reconciliation_id: str
) -> tuple[str | None, datetime | None]:
    """Return id and moment of the newest finished reconciliation other than this one; or None."""
    table = reconciliations.c
    row = connection.execute(
        sa.select(table.reconciliation_id, table.compared_until)
        .where(
            table.account == account,
            table.reconciliation_id != reconciliation_id,
            table.finished_at.is_not(None),
        )
        .order_by(table.compared_until.desc(), table.started_at.desc())
        .limit(1)
    ).first()
    return (None, None) if row is None else (row[0], row[1])


def trend(connection: sa.Connection, account: str) -> list[TrendPoint]:
    """Return the account's last finished reconciliations, oldest first."""
    table = reconciliations.c
    rows = connection.execute(
        sa.select(
            table.reconciliation_id, table.finished_at, table.scope, table.differences, table.unexplained
        )
        .where(table.account == account, table.finished_at.is_not(None))
        .order_by(table.started_at.desc())
        .limit(TREND_LENGTH - 1)
    )
    return [TrendPoint(row[0], row[1], Scope(row[2]), row[3], row[4]) for row in reversed(rows.all())]


def drop_old_differences(engine: sa.Engine, account: str, keep_days: int, now: datetime) -> int:
    """Delete differences older than ``keep_days`` and return how many; the reports stay."""
    old = sa.select(reconciliations.c.reconciliation_id).where(
        reconciliations.c.account == account,
        reconciliations.c.compared_until < now - timedelta(days=keep_days),
    )
    with engine.begin() as connection:
        result = connection.execute(
            sa.delete(differences).where(
                differences.c.account == account, differences.c.reconciliation_id.in_(old)
            )
        )
    return result.rowcount
