"""Ends refusals whose change has another value now.

A refusal ends when a value of the change differs (compared as the mapping declares, so another spelling of
the same value does not end it), when both sides have agreed since, or when a person opens the change again.
Under another mapping than that of the refused plan the values may only seem to differ, or to agree. So until
a plan of that mapping was applied as a whole, no refusal ends: the mapping may be a mistake.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.agreed.written import fitting_key
from enerflo_sync.crm.names import literal
from enerflo_sync.plan.completion import LAST_MILESTONE
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import row_stands
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side

# The reason of a refusal that ended without a person.
VALUE_CHANGED = "a value changed"

# Whether two values, Enerflo's and the CRM's, are exactly those of the change that was refused.
OF_REFUSAL = """case r.direction when 'to_crm' then ({1}, {0}) else ({0}, {1}) end
      is not distinct from (nullif(r.before, 'null'), nullif(r.source_value, 'null'))"""

# Whether the mapping is that of the plan in which a change was refused, or of the last plan that was applied
# as a whole.
_OF_THIS_MAPPING = """(
    not exists (select from sync.plans q where q.account = r.account and q.plan_hash = r.plan_hash
      and q.config_hash <> %(config_hash)s)
    or %(config_hash)s = (select q.config_hash from sync.plans q where q.account = r.account
      and q.applied_at is not null and q.change_count > 0 order by q.applied_at desc limit 1))"""

_END = f"""
/* enerflo-sync plan: refusals of changes whose values differ now */
update sync.refusals r set ended_at = now(), end_reason = '{VALUE_CHANGED}'
from pg_temp.refused_met m where r.account = %(account)s and r.refusal_id = m.refusal_id and m.is_own
  and not exists (select from pg_temp.refused_met o where o.refusal_id = m.refusal_id and o.stands)
  and {_OF_THIS_MAPPING}
"""  # noqa: S608 - a constant

# If both sides agree now, a value of the refused change has changed; to change it back is a new change. That
# no change is due does not prove that the sides agree, because a duplicate row or an unread record can hide a
# difference; so the values are compared.
_END_AGREED = Template(f"""
/* enerflo-sync plan $name: refusals of changes of fields on which both sides agree now */
update sync.refusals r set ended_at = now(), end_reason = '{VALUE_CHANGED}'
where r.account = %(account)s and $of_same_row and r.ended_at is null and r.op = 'update'
  and {_OF_THIS_MAPPING}
  and not exists (select from pg_temp.refused_met o where o.refusal_id = r.refusal_id and o.stands)
  and not exists (select from pg_temp.decided d where d.table_name = $table and d.field = r.field
                  and d.op = 'update' and $same_decided)
  and exists (
    select from (
      select $values from ($mirror_side) m join ($crm_side) c on $of_row where m.lives and $of_record
    ) o where case r.field $equal else false end
      and not case r.field $as_refused else false end$and_moved)
""")  # noqa: S608 - a constant

# If the refused change would have completed an install with its last milestone, both sides had the same
# status already at that time. Such a refusal ends only when the status is a different one.
_AND_MOVED = Template(f"""
      and not (case r.field $as_before else false end and exists (
        select from sync.plan_changes p
        where p.key = r.key and p.account = r.account and p.plan_hash = r.plan_hash
          and p.table_name = r.table_name and p.field = r.field and p.rule = '{LAST_MILESTONE}'))""")


def end_refusals(
    connection: sa.Connection,
    comparisons: Sequence[Comparison],
    parts: Mapping[str, Mapping[str, str]],
    values: Mapping[str, str],
) -> None:
    """End the refusals whose change has another value now, or on whose field both sides agree.

    :param parts: the SQL parts of each table that may have refusals (:mod:`.refused`).
    :param values: ``account``, and ``config_hash`` of the mapping under which the changes are due.
    """
    connection.exec_driver_sql(_END, values)
    for comparison in comparisons:
        if comparison.name in parts and comparison.fields:
            agreed = _END_AGREED.substitute(parts[comparison.name], **_both_sides(comparison))
            connection.exec_driver_sql(agreed, values)


def _both_sides(comparison: Comparison) -> dict[str, str]:
    """Return the SQL parts that read the present values of both sides for the record of a refusal ``r``."""
    numbers = range(1, len(comparison.fields) + 1)
    return {
        "mirror_side": mirror_side(comparison),
        "crm_side": crm_side(comparison),
        "of_record": " and ".join(
            f"m.p{n} = (r.enerflo_key ->> {literal(column)})::bigint"
            for n, column in enumerate(comparison.mirror_key, 1)
        ),
        "of_row": _row_of_refusal(comparison),
        "values": ", ".join(
            [
                *(f"m.e{n}" for n in numbers),
                *(f"c.c{n}" for n in numbers),
                *(f"m.mc{n}" for n in numbers if comparison.is_wide),
            ]
        ),
        "equal": " ".join(f"when {literal(field.name)} then {field.equal}" for field in comparison.fields),
        "as_refused": " ".join(
            f"when {literal(field.name)} then {OF_REFUSAL.format(field.enerflo.shown, field.crm.shown)}"
            for field in comparison.fields
        ),
        "and_moved": _AND_MOVED.substitute(as_before=_as_before(comparison))
        if comparison.is_installs
        else "",
    }


def _row_of_refusal(comparison: Comparison) -> str:
    """Return the condition that ``c`` is the row of the CRM that a refusal ``r`` is about, under any key."""
    of_key = " and ".join(
        f"c.k{n} = {fitting_key(comparison, 'r.key', column)}"
        for n, column in enumerate(comparison.mapping.key_columns, 1)
    )
    if comparison.key_is_record:
        return of_key
    # An import may have given the key to another record's row.
    stands = row_stands(comparison, "r.key", "r.enerflo_key")
    return f"{comparison.on('m', 'c')} and ({of_key} or not {stands})"


def _as_before(comparison: Comparison) -> str:
    """Return SQL cases, one for each field: whether Enerflo still has the value that the refusal stored."""
    return " ".join(
        f"when {literal(field.name)} then {field.same_shown('r.before', field.enerflo.shown)}"
        for field in comparison.fields
    )
