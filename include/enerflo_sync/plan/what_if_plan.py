"""What-if for the present plan: the plans of two mappings in one snapshot, and their differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import msgspec
import sqlalchemy as sa

from enerflo_sync.agreed.agree import agree_moved
from enerflo_sync.agreed.arrivals import record_arrivals
from enerflo_sync.agreed.changed_meanings import follow_meanings
from enerflo_sync.agreed.key_changes import follow_keys
from enerflo_sync.agreed.renamed_tables import follow_names
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.masking import PersonalData, mask
from enerflo_sync.plan.make import decide_all
from enerflo_sync.plan.parked import hold_parked
from enerflo_sync.plan.sent_updates import agree_on_sent
from enerflo_sync.reconcile.live import case_folding, live_comparisons
from enerflo_sync.reconcile.store import Classes, masked_key, personal_data_classes
from enerflo_sync.warehouse.bulk import driver_connection

Progress = Callable[[str, int, int], None]

_NOW, _NEW = "pg_temp.what_if_now", "pg_temp.what_if_new"
_COLUMNS = "outcome, table_name, key, op, field, before, after, rule, reason"


class DifferenceKind(StrEnum):
    """Whether only one of the two plans has a change, or both have it with different content."""

    ONLY_NOW = "only_now"
    ONLY_NEW = "only_new"
    DIFFERENT = "different"


class PlanSample(msgspec.Struct, frozen=True, kw_only=True):
    """One change with its values in both plans; the values of a plan that lacks it are None."""

    key: Mapping[str, Any]
    now_before: Any
    now_after: Any
    new_before: Any
    new_after: Any
    now_rule: str | None
    new_rule: str | None
    now_reason: str | None
    new_reason: str | None


class PlanDifference(msgspec.Struct, frozen=True, kw_only=True):
    """Changes of one field whose outcome differs between the two plans in the same way.

    :param now: to_crm, to_enerflo or review under the present mapping; None if nothing is planned.
    :param new: the same under the other mapping.
    """

    kind: DifferenceKind
    table_name: str
    field: str | None
    op: str
    now: str | None
    new: str | None
    count: int
    samples: Sequence[PlanSample]


_TABLE = """
/* enerflo-sync what-if: what one mapping decides */
create temporary table {} (
  outcome text, table_name text, key jsonb, op text, field text, before jsonb, after jsonb, rule text,
  reason text) on commit drop
"""

_DIFFERENCES = sa.text(f"""
/* enerflo-sync what-if: where two plans differ */
with both_plans as (
  select coalesce(a.table_name, b.table_name) as table_name, coalesce(a.key, b.key) as key,
         coalesce(a.op, b.op) as op, coalesce(a.field, b.field) as field,
         a.outcome as now, b.outcome as new, a.before as now_before, a.after as now_after,
         b.before as new_before, b.after as new_after, a.rule as now_rule, b.rule as new_rule,
         a.reason as now_reason, b.reason as new_reason
  from {_NOW} a full join {_NEW} b
    on a.table_name = b.table_name and a.key = b.key and a.op = b.op
   and coalesce(a.field, '') = coalesce(b.field, '')
  where (a.outcome, a.before, a.after) is distinct from (b.outcome, b.before, b.after)
), numbered as (
  select d.*, count(*) over which as count,
         row_number() over (partition by table_name, field, op, now, new order by key::text) as nth
  from both_plans d window which as (partition by table_name, field, op, now, new)
)
select * from numbered where nth <= :samples
order by count desc, table_name, field nulls first, op, now nulls last, new nulls last, nth
""")  # noqa: S608 - constants

_COUNTS = "/* enerflo-sync what-if: counts */ select outcome, count(*) from {} group by 1 order by 1"


def compare_plans(
    engine: sa.Engine, config: SyncConfig, new: SyncConfig, account: str, samples: int, tick: Progress
) -> tuple[dict[str, dict[str, int]], list[PlanDifference]]:
    """Return the counts of the plans that two mappings would make now, and their differences, masked.

    The decisions are copied to temporary tables of one session; all writes of both plans are rolled back.
    """
    snapshot = engine.execution_options(isolation_level="REPEATABLE READ")
    with snapshot.connect() as connection, connection.begin() as transaction:
        moment = connection.scalar(sa.text("select pg_export_snapshot()"))
        for table, mapping in ((_NOW, config), (_NEW, new)):
            connection.exec_driver_sql(_TABLE.format(table))
            _decide(snapshot, mapping, account, str(moment), connection, table, tick)
            connection.exec_driver_sql(f"analyze {table}")
        counts = {
            name: {outcome: int(n) for outcome, n in connection.exec_driver_sql(_COUNTS.format(table))}
            for name, table in (("now", _NOW), ("new", _NEW))
        }
        rows = connection.execute(_DIFFERENCES, {"samples": max(samples, 1)}).mappings().all()
        transaction.rollback()
    return counts, _grouped(rows, stricter_classes(config, new, account), samples)


def _decide(
    engine: sa.Engine,
    config: SyncConfig,
    account: str,
    moment: str,
    into: sa.Connection,
    table: str,
    tick: Progress,
) -> None:
    """Decide under one mapping in a given snapshot and copy the decisions to ``table`` of another session.

    The deciding transaction is rolled back.

    :param moment: the exported snapshot.
    """
    with engine.connect() as connection, connection.begin() as transaction:
        # The server made this name of letters, digits and dashes, so quoting it is safe.
        connection.exec_driver_sql(f"set transaction snapshot '{moment}'")
        comparisons = live_comparisons(connection, config, account, case_folding(connection), all_tables=True)
        # A plan takes these steps too. Without them, a table with a new name, key or meaning would look new.
        comparisons = follow_names(connection, comparisons, config, account)
        follow_keys(connection, comparisons, account)
        comparisons = follow_meanings(connection, comparisons, account)
        agree_on_sent(connection, comparisons, account)
        record_arrivals(connection, comparisons, account)
        agree_moved(connection, comparisons, account, config)
        decide_all(connection, comparisons, config, account, None, tick)
        hold_parked(connection, config, account)
        out = (
            f"copy (select {_COLUMNS} from pg_temp.decided"  # noqa: S608 - constants
            " where outcome in ('to_crm', 'to_enerflo', 'review')) to stdout"
        )
        with (
            driver_connection(connection).cursor() as source,
            driver_connection(into).cursor() as target,
            source.copy(out) as rows,
            target.copy(f"copy {table} ({_COLUMNS}) from stdin") as copy,
        ):
            for block in rows:
                copy.write(block)
        transaction.rollback()


def _grouped(rows: Sequence[sa.RowMapping], classes: Classes, samples: int) -> list[PlanDifference]:
    found: dict[tuple[Any, ...], tuple[sa.RowMapping, list[PlanSample]]] = {}
    for row in rows:
        group = tuple(row[name] for name in ("table_name", "field", "op", "now", "new"))
        shown = found.setdefault(group, (row, []))[1]
        if len(shown) < samples:
            shown.append(_sample(row, classes))
    return [
        PlanDifference(
            kind=_kind(row["now"], row["new"]),
            samples=shown,
            **{name: row[name] for name in ("table_name", "field", "op", "now", "new", "count")},
        )
        for row, shown in found.values()
    ]


def _kind(now: str | None, new: str | None) -> DifferenceKind:
    if now is None:
        return DifferenceKind.ONLY_NEW
    return DifferenceKind.ONLY_NOW if new is None else DifferenceKind.DIFFERENT


def _sample(row: sa.RowMapping, classes: Classes) -> PlanSample:
    names = ("now_before", "now_after", "new_before", "new_after")
    return PlanSample(
        key=masked_key(row["table_name"], row["key"], classes),
        **{name: masked_value(classes, row["table_name"], row["field"], row[name]) for name in names},
        **{name: row[name] for name in ("now_rule", "new_rule", "now_reason", "new_reason")},
    )


def stricter_classes(config: SyncConfig, new: SyncConfig, account: str) -> Classes:
    """Return the personal-data class of each field; a class that either mapping declares applies."""
    first, second = (personal_data_classes(one.tables_for(account)) for one in (config, new))
    declared = {name: kind for name, kind in second.items() if kind is not PersonalData.NONE}
    return {**second, **first, **declared}


def masked_value(classes: Classes, table: str, field: str | None, value: Any) -> Any:
    """Return a value masked by its class; a whole row is masked column by column."""
    if field is None:
        if not isinstance(value, dict):
            return value
        return {name: masked_value(classes, table, name, one) for name, one in value.items()}
    return mask(value, classes.get((table, field), PersonalData.FREE_TEXT))
