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

    :param zone: of times without one.
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
            return f"{text}::numeric::{live.type}"
        case _:
            return typed(live, text)


def moment_of_text(text: str, zone: str) -> str:
    """Return a text of a plan as timestamptz: a moment, or a day, which begins at midnight in ``zone``."""
    day = f"{text}::timestamp at time zone {literal(zone)}"
    return f"(case when length({text}) = 10 then {day} else {text}::timestamptz end)"


def typed(live: LiveColumn, text: str) -> str:
    """Return an SQL text in the column's type; one that is too long is an error once it is assigned."""
    # Never cast to a length, which would cut it; but to bpchar, whose index serves no text.
    kept = {"varchar": "text", "bpchar": "bpchar"}.get(live.base, live.sql_type)
    return f"{text}::{kept}"


def typed_key(plan: Comparison, key: str, column: str) -> str:
    """Return one column of the jsonb expression ``key`` as an SQL value of the CRM column's type."""
    return typed(plan.live.columns[column], f"({key}->>{literal(column)})")


def fitting_key(plan: Comparison, key: str, column: str) -> str:
    """Return one column of the jsonb expression ``key`` to compare with the CRM's; null if it cannot be."""
    return fitting(plan.live.columns[column], f"{key}->>{literal(column)}")


def of_key(plan: Comparison, key: str) -> str:
    """Return the condition that a CRM row ``t`` is the one of the jsonb expression ``key``."""
    return " and ".join(
        f"t.{quoted(column)} = {fitting_key(plan, key, column)}" for column in plan.mapping.key_columns
    )


def alone_of_key(plan: Comparison) -> str:
    """Return ``and …``: no other CRM row has the key of ``t``; or ``""`` where an index says so.

    Of rows that share a key nobody knows which one a change is about, also where they came after the plan.
    """
    names = plan.mapping.key_columns
    if plan.live.unique_by(names):
        return ""
    keys = ", ".join(f"t.{quoted(name)} as k{n}" for n, name in enumerate(names, 1))
    same = " and ".join(f"t.{quoted(name)} = s.k{n}" for n, name in enumerate(names, 1))
    numbers = ", ".join(str(n) for n, _ in enumerate(names, 1))
    shared = f"select {keys} from {plan.crm_rows} t group by {numbers} having count(*) > 1"  # noqa: S608
    return f" and not exists (select from ({shared}) s where {same})"


def names_record(plan: Comparison, row: str, record_key: str) -> str:
    """Return the condition that a CRM row names the record of Enerflo of a jsonb key; takes ``account``.

    True where the CRM's key is that record's id: a row cannot come to name another one then.
    """
    if plan.key_is_record:
        return "true"
    same = [f"e.{quoted(name)} = ({record_key} ->> {literal(name)})::bigint" for name in plan.mirror_key]
    same += [
        f"({join.mirror})::{join.type} = ({join.of_crm(f'{row}.{quoted(join.crm_name)}')})::{join.type}"
        for join in plan.joins
    ]
    return f"exists (select from {plan.mirror} e where e.account = %(account)s and {' and '.join(same)})"


def no_row_named(plan: Comparison, links: Mapping[str, str | None]) -> str:
    """Return ``and …``: no row of the CRM names the record of a row to be written; or ``""``.

    Where the key is the record's id, and is spelled in one way, the table's key says so. A row that names the
    record in another spelling than declared is no row of it, and yet no second row is made beside it.

    :param links: the values of the join columns, as they are written; None where one is not.
    """
    written = {name: value for name, value in links.items() if value is not None}
    near = f" {no_near_row(plan, written)}"
    spelled = any(join.varies for join in plan.joins)
    if (plan.mapping.joined_by_key and not spelled) or len(written) < len(links):
        return near
    same = " and ".join(f"{join.crm} = {join.of_crm(f'({written[join.crm_name]})')}" for join in plan.joins)
    return f" and not exists (select from {plan.crm} t where {same}){near}"


def record_lives(plan: Comparison, record_key: str) -> str:
    """Return the condition that Enerflo has the record of a jsonb key at present; takes ``account``."""
    same = [f"e.{quoted(name)} = ({record_key} ->> {literal(name)})::bigint" for name in plan.mirror_key]
    return (
        f"exists (select from {plan.mirror} e where e.account = %(account)s"
        f" and e.deleted_at is null and {' and '.join(same)})"
    )


def shown(plan: Comparison, column: str) -> str:
    """Return a column of a CRM row ``t`` as plans show it."""
    raw, live = plan.value(column), plan.live.columns[column]
    field = plan.mapping.fields.get(column)
    return f"to_jsonb({raw})" if field is None else shown_in_crm(field, raw, live, plan.mapping.time_zone)


def as_written(plan: Comparison, column: str, value: str) -> str:
    """Return how the CRM shows a value of a plan once it is written."""
    live, field = plan.live.columns[column], plan.mapping.fields.get(column)
    raw = column_value(live, value, zone_of(plan, column))
    return f"to_jsonb({raw})" if field is None else shown_in_crm(field, raw, live, plan.mapping.time_zone)


def not_kept(plan: Comparison, column: str, change: str) -> str:
    """Return the condition that a CRM row ``t``, once written, says what it said before the change.

    Only a trigger or rule of the table can do so. A column whose type makes of the new value what it held
    before, by rounding, has kept it.
    """
    if not plan.live.has_own_rules:
        return "false"
    before = f"nullif({change}.before, 'null')"
    says_before = f"nullif({shown(plan, column)}, 'null') is not distinct from {before}"
    return f"({says_before} and {as_written(plan, column, f'{change}.after')} is distinct from {before})"


def zone_of(plan: Comparison, column: str) -> str:
    """Return the zone of a column's times that have none."""
    field = plan.mapping.fields.get(column)
    return (field.time_zone if field is not None else None) or plan.mapping.time_zone


def touched(plan: Comparison) -> tuple[str, str] | None:
    """Return the column of a CRM row's last change, quoted, and the present moment in its type."""
    if plan.updated_at is None:
        return None
    live = plan.live.columns[plan.updated_at]
    return quoted(plan.updated_at), present_moment(live, plan.mapping.time_zone)


def present_moment(live: LiveColumn, zone: str) -> str:
    """Return the transaction's time in the type of a column of times.

    :param zone: of times without one.
    """
    now = "now()" if live.kind is Kind.TIMESTAMPTZ else f"(now() at time zone {literal(zone)})"
    return f"{now}::date" if live.kind is Kind.DATE else now
