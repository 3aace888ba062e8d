"""Which cause a difference gets: rules in the order of :class:`Cause`, the first that fits wins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from string import Template
from typing import Any

from enerflo_sync.crm.config import StatusNames
from enerflo_sync.crm.mapping import MIRROR_TABLES, TableName
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.report import Cause
from enerflo_sync.reconcile.values import WHOLE_TEXT

# Conditions over a judged row ``o`` and one of its differing fields ``f``. What has no rule here needs the
# agreed values or a plan: planned, policy, conflict, edited_in_crm, edited_in_enerflo and deleted_in_crm.
RULES: Sequence[tuple[Cause, str]] = (
    (Cause.QUARANTINED, "o.quarantined"),
    (Cause.DELETED_IN_ENERFLO, "o.tombstone"),
    (Cause.VOIDED, "o.voided"),
    (Cause.MISSING_IN_CRM, "not o.in_crm"),
    (Cause.MISSING_IN_ENERFLO, "not o.in_enerflo"),
    (Cause.EQUAL_AFTER_NORMALISATION, "f.equal"),
    (Cause.IN_FLIGHT, "o.young"),
)


def cause_of() -> str:
    """Return the SQL expression of a difference's cause."""
    cases = " ".join(f"when {condition} then '{cause}'" for cause, condition in RULES)
    return f"case {cases} else '{Cause.UNEXPLAINED}' end"


def quarantined(plan: Comparison, alias: str) -> str:
    """Return the condition that a record, or the install it belongs to, stands in quarantine.

    ``alias`` has the columns ``p1…`` and ``owner`` of ``odd``.
    """
    keys = ", ".join(f"{alias}.p{n}" for n, _ in enumerate(plan.mirror_key, 1))
    conditions = [_among_items(keys, MIRROR_TABLES[plan.name], plan.mirror_key)]
    if plan.mirror_has_install and not plan.is_installs:
        conditions.append(_among_items(f"{alias}.owner", TableName.INSTALLS, ["install_id"]))
    return "(" + " or ".join(conditions) + ")"


# The inner select is a fence (offset 0): the cast must not run before the look at the text.
_ITEMS = Template("""coalesce(($keys) in (
    select $ids from (
      select q.key from sync.quarantine q
      where q.account = %(account)s and q.state = 'open' and q.table_name = $table and $whole offset 0
    ) q), false)""")


def _among_items(keys: str, table: str, columns: Sequence[str]) -> str:
    texts = [f"q.key->>{literal(column)}" for column in columns]
    return _ITEMS.substitute(
        keys=keys,
        ids=", ".join(f"({text})::bigint" for text in texts),
        table=literal(table),
        whole=" and ".join(f"{text} ~ {literal(WHOLE_TEXT)}" for text in texts),
    )


def voided(alias: str, prefix: str = "install_status") -> str:
    """Return the condition that an install is voided: ``alias`` has ``<prefix>_id`` and ``<prefix>_name``."""
    return (
        f"coalesce({alias}.{prefix}_id = any(%(voided_ids)s::bigint[])"
        f" or lower(btrim({alias}.{prefix}_name)) = any(%(voided_names)s::text[]), false)"
    )


# An install carries its own status; what belongs to one takes the status from there.
_OWNERS = """left join lateral (
    select i.status_id as install_status_id, i.status_name as install_status_name
    from enerflo.installs i
    where i.account = %(account)s and i.install_id = o.owner and i.deleted_at is null
  ) i on true"""


def young(alias: str) -> str:
    """Return the condition that one side moved more recently than a sync may take to follow.

    A CRM time further ahead of the clock than that is not believed, or it would excuse its row for ever.
    """
    believed = f"case when {alias}.changed_at <= %(now)s::timestamptz + %(delay)s then {alias}.changed_at end"
    return f"coalesce(greatest({alias}.observed_at, {believed}) > %(now)s::timestamptz - %(delay)s, false)"


def cause_parameters(statuses: StatusNames, now: datetime, in_flight_minutes: int) -> dict[str, Any]:
    """Return the parameters that the conditions of this module take, but for ``account``."""
    return {
        "voided_ids": [status for status in statuses.voided if isinstance(status, int)],
        "voided_names": [status.strip().lower() for status in statuses.voided if isinstance(status, str)],
        "now": now,
        "delay": timedelta(minutes=in_flight_minutes),
    }


_DIFFERENCES = Template("""
/* enerflo-sync reconcile $name: differences with their causes */
insert into sync.differences
  (account, reconciliation_id, table_name, key, field, enerflo_value, crm_value, cause)
select %(account)s, %(reconciliation_id)s, $table, $key, f.field, f.mine, f.theirs, $cause
from (
  select o.*, $quarantined as quarantined, $voided as voided, $young as young
  from $odd o $owners where $compared
) o cross join lateral (
  select null::text as field, null::jsonb as mine, null::jsonb as theirs, false as equal
  where not (o.in_enerflo and o.in_crm)
  $fields
) f
""")

_FIELD = Template("""union all
  select $name, $mine, $theirs, $equal where o.in_enerflo and o.in_crm and ($differs)
""")


def differences_statement(plan: Comparison) -> str:
    """Return the statement that stores a row per differing field, and one per record on one side only.

    Takes ``account``, ``reconciliation_id`` and :func:`cause_parameters`.
    """
    fields = "".join(
        _FIELD.substitute(
            name=literal(field.name),
            mine=field.enerflo.shown,
            theirs=field.crm.shown,
            equal=field.equal,
            differs=field.differs,
        )
        for field in plan.fields
    )
    return _DIFFERENCES.substitute(
        name=plan.name,
        table=literal(plan.name),
        key=difference_key(plan),
        cause=cause_of(),
        quarantined=quarantined(plan, "o"),
        voided=voided("o") if plan.is_installs else voided("i") if plan.mirror_has_install else "false",
        owners=_OWNERS if plan.mirror_has_install and not plan.is_installs else "",
        young=young("o"),
        odd=plan.odd,
        compared=plan.comparable,
        fields=fields,
    )


def difference_key(plan: Comparison) -> str:
    """Return the jsonb key of an odd row: the CRM's key, or the join key where the CRM has no such row."""
    mine = ", ".join(f"{literal(join.crm_name)}, o.j{n}" for n, join in enumerate(plan.joins, 1))
    theirs = ", ".join(f"{literal(name)}, o.k{n}" for n, name in enumerate(plan.mapping.key_columns, 1))
    return f"case when o.in_crm then jsonb_build_object({theirs}) else jsonb_build_object({mine}) end"


_DUPLICATES = Template("""
/* enerflo-sync reconcile $name: join keys that more than one row has */
insert into sync.differences
  (account, reconciliation_id, table_name, key, field, enerflo_value, crm_value, cause)
select %(account)s, %(reconciliation_id)s, $table, jsonb_build_object($join), null, null, d.rows,
       case when $quarantined then 'quarantined' else 'duplicate_identity' end
from (
  select $joined, $key, $owner as owner,
         jsonb_build_object(
           'rows', count(*), 'keys', to_jsonb((array_agg($crm_key order by $crm_key))[1:10])) as rows
  from $twice d left join $crm t on $on
  group by $joined
) d
""")


def duplicates_statement(plan: Comparison) -> str:
    """Return the statement that stores one difference for each join key that more than one row has.

    Its CRM value says how many rows there are, and names ten of them by their keys.
    """
    keys = [quoted(name) for name in plan.mapping.key_columns]
    names = ", ".join(
        f"{literal(name)}, t.{key}" for name, key in zip(plan.mapping.key_columns, keys, strict=True)
    )
    columns = [join.mirror_name for join in plan.joins]
    places = {name: f"d.j{n}" for n, name in enumerate(columns, 1)}
    owner = "install_id" if "install_id" in places else ""
    return _DUPLICATES.substitute(
        name=plan.name,
        table=literal(plan.name),
        join=", ".join(f"{literal(join.crm_name)}, d.j{n}" for n, join in enumerate(plan.joins, 1)),
        joined=plan.join_names("d"),
        key=", ".join(
            f"{as_id(places[name]) if name in places else 'null::bigint'} as p{n}"
            for n, name in enumerate(plan.mirror_key, 1)
        ),
        owner=as_id(places[owner]) if owner else _owner_in_mirror(plan),
        crm_key=f"jsonb_build_object({names})",
        quarantined=quarantined(plan, "d"),
        twice=plan.twice,
        crm=plan.crm,
        on=" and ".join(f"({join.crm})::{join.type} = d.j{n}" for n, join in enumerate(plan.joins, 1)),
    )


def as_id(expression: str) -> str:
    """Return a join key as the bigint that Enerflo's ids are; null where it is none."""
    text = f"{expression}::text"
    return f"(case when {text} ~ {literal(WHOLE_TEXT)} then {text}::bigint end)"


_OWNER = Template("(select min(e.install_id) from $mirror e where $rows and $on)")


def _owner_in_mirror(plan: Comparison) -> str:
    if not plan.mirror_has_install:
        return "null::bigint"
    on = " and ".join(f"({join.mirror})::{join.type} = d.j{n}" for n, join in enumerate(plan.joins, 1))
    return _OWNER.substitute(mirror=plan.mirror, rows=plan.mirror_rows, on=on)
