"""JSON values of a plan as SQL values of the CRM's own columns."""

from __future__ import annotations

from collections.abc import Mapping

from enerflo_sync.crm.catalog import Kind, LiveColumn
from enerflo_sync.crm.keys import fitting
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.near_keys import no_near_row
from enerflo_sync.reconcile.values import shown_in_crm


def column_value(live: LiveColumn, value: str, zone: str) -> str:
    """Return the jsonb expression ``value`` in the column's type; a value that does not fit is an error.

    :param zone: the time zone of times that have none.
    """
    text = f"({value} #>> '{{}}')"
    match live.kind:
        case Kind.JSONB:
            return value
        case Kind.JSON:
            return f"{value}::json"
        case Kind.TIMESTAMPTZ:
            return moment_of_text(text, zone)
        case Kind.TIMESTAMP:
            return f"({moment_of_text(text, zone)} at time zone {literal(zone)})"
        case Kind.DATE:
            day = f"case when length({text}) = 10 then {text}::date"
            return f"({day} else ({text}::timestamptz at time zone {literal(zone)})::date end)"
        case Kind.INTEGER:
            # No number but a whole one becomes an oid. A flag is 1 or 0.
            whole = "::int8" if live.base == "oid" else ""
            number = f"case {text} when 'true' then '1' when 'false' then '0' else {text} end"
            return f"({number})::numeric{whole}::{live.type}"
        case _:
            return typed(live, text)


def moment_of_text(text: str, zone: str) -> str:
    """Return a text of a plan as timestamptz; a text that is only a day means its midnight in ``zone``."""
    day = f"{text}::timestamp at time zone {literal(zone)}"
    return f"(case when length({text}) = 10 then {day} else {text}::timestamptz end)"


def typed(live: LiveColumn, text: str) -> str:
    """Return an SQL text in the column's type; a text that is too long fails when it is assigned."""
    # A cast to a type with a length would silently cut the text. bpchar is kept, because an index on a bpchar
    # column cannot be used for a text.
    kept = {"varchar": "text", "bpchar": "bpchar"}.get(live.base, live.sql_type)
    return f"{text}::{kept}"


def typed_key(comparison: Comparison, key: str, column: str) -> str:
    """Return one column of the jsonb expression ``key`` as an SQL value of the CRM column's type."""
    return typed(comparison.live.columns[column], f"({key}->>{literal(column)})")


def fitting_key(comparison: Comparison, key: str, column: str) -> str:
    """Return one column of the jsonb ``key`` for a comparison with the CRM's; null if it does not fit it."""
    return fitting(comparison.live.columns[column], f"{key}->>{literal(column)}")


def of_key(comparison: Comparison, key: str) -> str:
    """Return the condition that a CRM row ``t`` has the key in the jsonb expression ``key``."""
    return " and ".join(
        f"t.{quoted(column)} = {fitting_key(comparison, key, column)}"
        for column in comparison.mapping.key_columns
    )


def alone_of_key(comparison: Comparison) -> str:
    """Return ``and …``: no other CRM row has the key of ``t``; or ``""`` if a unique index ensures that.

    If rows share a key, it is unknown which one a change means, even if the second row came after the plan.
    """
    names = comparison.mapping.key_columns
    if comparison.live.unique_by(names):
        return ""
    keys = ", ".join(f"t.{quoted(name)} as k{n}" for n, name in enumerate(names, 1))
    same = " and ".join(f"t.{quoted(name)} = s.k{n}" for n, name in enumerate(names, 1))
    numbers = ", ".join(str(n) for n, _ in enumerate(names, 1))
    shared = f"select {keys} from {comparison.crm_rows} t group by {numbers} having count(*) > 1"  # noqa: S608
    # Found once, and mostly none. As a join, the planner may go through all keys again for each change (2,500
    # changes of 12,000 rows: 12.8 s instead of 1.1 s).
    return f" and not exists (with shared as materialized ({shared}) select from shared s where {same})"


def no_row_named(comparison: Comparison, links: Mapping[str, str | None]) -> str:
    """Return ``and …``: no row of the CRM names the record of a row to be inserted; or ``""``.

    If the key is the record's id in a single spelling, the table's own key ensures that. A row that names the
    record in a spelling other than the declared one is not matched to the record, but it still prevents a
    second row.

    :param links: SQL of the values that the join columns get; None for a column that gets none.
    """
    written = {name: value for name, value in links.items() if value is not None}
    near = f" {no_near_row(comparison, written)}"
    spelled = any(join.varies for join in comparison.joins)
    if (comparison.mapping.joined_by_key and not spelled) or len(written) < len(links):
        return near
    same = " and ".join(
        f"{join.crm} = {join.of_crm(f'({written[join.crm_name]})')}" for join in comparison.joins
    )
    return f" and not exists (select from {comparison.crm} t where {same}){near}"


def record_lives(comparison: Comparison, record_key: str) -> str:
    """Return the condition that Enerflo now has the record of a jsonb key; parameter: ``account``."""
    same = [
        f"e.{quoted(name)} = ({record_key} ->> {literal(name)})::bigint" for name in comparison.mirror_key
    ]
    return (
        f"exists (select from {comparison.mirror} e where e.account = %(account)s"
        f" and e.deleted_at is null and {' and '.join(same)})"
    )


def says_as_planned(comparison: Comparison, change: str) -> str:
    """Return ``and …``, the condition that Enerflo still says what the plan saw of a new row, or nothing.

    Only where rows are never changed later (``create_only``): any other row gets the new values by the next
    plan. Takes ``account`` and ``plan_hash``.

    :param change: the new row, with its ``key`` and ``enerflo_key``.
    """
    if not comparison.mapping.create_only or comparison.is_wide or not comparison.fields:
        return ""
    columns = ", ".join(f"e.{quoted(field.mirror_column)} as e{field.number}" for field in comparison.fields)
    record = " and ".join(
        f"e.{quoted(name)} = ({change}.enerflo_key ->> {literal(name)})::bigint"
        for name in comparison.mirror_key
    )
    said = ", ".join(f"({literal(field.name)}, {field.enerflo.shown})" for field in comparison.fields)
    return (
        " and not exists (select from"  # noqa: S608 - names of the mapping
        f" (select {columns} from {comparison.mirror} e where e.account = %(account)s and {record}) o"
        f" cross join lateral (values {said}) f (field, now)"
        " join sync.plan_changes c on c.account = %(account)s and c.plan_hash = %(plan_hash)s"
        f" and c.table_name = {literal(comparison.name)} and c.key = {change}.key and c.op = 'insert'"
        " and c.field = f.field"
        " where nullif(c.source_value, 'null') is distinct from nullif(f.now, 'null'))"
    )


def shown(comparison: Comparison, column: str, *, zone: str | None = None) -> str:
    """Return a column of a CRM row ``t`` as plans show it.

    :param zone: the zone of times without one, if it is not that of the mapping.
    """
    raw, live = comparison.value(column), comparison.live.columns[column]
    field = comparison.mapping.fields.get(column)
    if field is None:
        return f"to_jsonb({raw})"
    field = field if zone is None else field.model_copy(update={"time_zone": zone})
    return shown_in_crm(field, raw, live, comparison.mapping.time_zone)


def as_written(comparison: Comparison, column: str, value: str) -> str:
    """Return how the CRM will show a plan's value after it is written."""
    live, field = comparison.live.columns[column], comparison.mapping.fields.get(column)
    raw = column_value(live, value, zone_of(comparison, column))
    return (
        f"to_jsonb({raw})" if field is None else shown_in_crm(field, raw, live, comparison.mapping.time_zone)
    )


def not_kept(comparison: Comparison, column: str, change: str) -> str:
    """Return the condition that a CRM row ``t`` has its former value although the change was written.

    Only a trigger or rule of the table can restore the former value. If the column's type rounds the new
    value to the former one, the new value counts as kept.
    """
    if not comparison.live.has_own_rules:
        return "false"
    before = f"nullif({change}.before, 'null')"
    says_before = f"nullif({shown(comparison, column)}, 'null') is not distinct from {before}"
    return (
        f"({says_before} and {as_written(comparison, column, f'{change}.after')} is distinct from {before})"
    )


def zone_of(comparison: Comparison, column: str) -> str:
    """Return the time zone of a column's times that have none."""
    field = comparison.mapping.fields.get(column)
    return (field.time_zone if field is not None else None) or comparison.mapping.time_zone


def touched(comparison: Comparison) -> tuple[str, str] | None:
    """Return the quoted column of a CRM row's modification time, and the transaction's time in its type."""
    if comparison.updated_at is None:
        return None
    live = comparison.live.columns[comparison.updated_at]
    return quoted(comparison.updated_at), present_moment(live, comparison.mapping.time_zone)


def present_moment(live: LiveColumn, zone: str) -> str:
    """Return the transaction's time in the type of a column of times.

    :param zone: the time zone of times that have none.
    """
    now = "now()" if live.kind is Kind.TIMESTAMPTZ else f"(now() at time zone {literal(zone)})"
    return f"{now}::date" if live.kind is Kind.DATE else now
