"""Changes that were handed over (``write_to: changes``) and that the CRM's copy does not show yet.

A tool carries these changes to the CRM, and the next copy shows them. Until then a difference is expected. A
change that takes longer than ``late_hours`` is late, and its difference is unexplained.
"""

from __future__ import annotations

from datetime import UTC, datetime
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison

# ``w``: a change that was handed over, at the time of the tool's acknowledgement or else of the change
# itself.
SINCE = "coalesce(w.acknowledged_at, w.made_at)"

# An update is on its way if Enerflo still has the handed-over value and the copy still has the value from
# before; or if the copy shows the change already and Enerflo has a newer value.
_FIELD = Template("""exists (select from sync.crm_changes w
      where w.key = o.key and w.account = %(account)s and w.table_name = $table and w.ended_at is null
        and w.state = 'open' and w.op = 'update' and w."column" = f.field and $when
        and (w.after is not distinct from f.to_crm_value and $as_copied or $arrived))""")

# An insert is on its way for a record that the CRM lacks, a deletion for a row whose record Enerflo deleted.
_RECORD = Template("""exists (select from sync.crm_changes w
      where w.enerflo_key = o.enerflo_key and w.account = %(account)s and w.table_name = $table
        and w.ended_at is null and w.state = 'open' and $when
        and (o.in_enerflo and (w.op = 'insert' or w.kind = 'link')
          or o.tombstone and o.in_crm and w.op = 'delete' and w.key = o.key))""")

# A row from which a record was created at Enerflo, and that does not have the record's id yet.
_LINK = Template("""exists (select from sync.crm_changes w
      where w.key = o.key and w.account = %(account)s and w.table_name = $table and w.ended_at is null
        and w.state = 'open' and w.op = 'update' and w."column" = any($links) and $when)""")

_KEYS = Template("""d.key in (
      select w.key from sync.crm_changes w
      where w.account = %(account)s and w.table_name = $table
        and (w.ended_at is null or w.ended_at > %(since)s))""")

_LATE = Template("""
/* enerflo-sync reconcile $name: changes that were handed over and are late */
select count(*) as number, min(w.made_at) as oldest,
       (array_agg(w.plan_hash order by w.made_at, w.number))[1] as plan_hash,
       count(*) filter (where w.acknowledged_at is not null) as taken
from sync.crm_changes w
where w.account = %(account)s and w.table_name = $table and w.ended_at is null and w.state = 'open' and $late
""")


def field_on_its_way(comparison: Comparison, *, late: bool = False) -> str:
    """Return the condition on a differing field of ``judged`` that its change is on its way to the CRM.

    Takes ``account`` and ``now``.

    :param late: the change has been on its way for longer than ``late_hours``.
    """
    as_copied, arrived = (_shows(comparison, f"w.{value}") for value in ("copy_value", "after"))
    return _FIELD.substitute(
        table=literal(comparison.name), when=_when(comparison, late), as_copied=as_copied, arrived=arrived
    )


def row_on_its_way(comparison: Comparison, *, late: bool = False) -> str:
    """Return the condition on a row of ``judged_rows`` that its row or its link is on its way to the CRM.

    Takes the parameters of :func:`field_on_its_way`.
    """
    table, when = literal(comparison.name), _when(comparison, late)
    record = _RECORD.substitute(table=table, when=when)
    conditions = [f"(o.in_enerflo is distinct from o.in_crm) and {record}"]
    if links := link_names(comparison):
        waits = _LINK.substitute(table=table, when=when, links=names_array(links))
        conditions.append(f"o.in_crm and not o.in_enerflo and {waits}")
    return f"({' or '.join(conditions)})"


def handed_over_keys(comparison: Comparison) -> str:
    """Return the condition that a stored difference ``d`` is about a row with a change on its way.

    Takes ``account`` and ``since``.
    """
    return _KEYS.substitute(table=literal(comparison.name)) if comparison.hands_over else "false"


def late_remarks(connection: sa.Connection, comparison: Comparison, parameters: dict[str, Any]) -> list[str]:
    """Return a sentence if handed-over changes are late; takes ``account`` and ``now``."""
    if not comparison.hands_over:
        return []
    query = _LATE.substitute(name=comparison.name, table=literal(comparison.name), late=_is_late(comparison))
    row = connection.exec_driver_sql(query, parameters).one()
    if not row.number:
        return []
    many = row.number > 1
    said = f"{row.number:,} changes are late: they were" if many else "1 change is late: it was"
    taken = (
        f" {row.taken:,} of them were acknowledged." if row.taken else " No tool acknowledged any of them."
    )
    return [
        f"{said} handed over more than {_hours(comparison):g} hours ago, and the CRM's copy does not show"
        f" {'them' if many else 'it'} yet (the oldest since {_moment(row.oldest)}, plan"
        f" {row.plan_hash[:12]}).{taken}"
    ]


def link_names(comparison: Comparison) -> list[str]:
    """Return the CRM columns beside the key that name the record of Enerflo."""
    return [name for name in comparison.mapping.join_columns if name not in comparison.mapping.key_columns]


def names_array(names: list[str]) -> str:
    """Return names as an SQL array of texts."""
    return f"array[{', '.join(literal(name) for name in names)}]::text[]"


def _shows(comparison: Comparison, value: str) -> str:
    """Return whether the CRM's value of ``f.field`` equals a JSON value, as the field is declared."""
    cases = " ".join(
        f"when {literal(field.name)} then {field.same_shown('f.theirs', value, in_crm=True)}"
        for field in comparison.fields
    )
    return f"(f.theirs is not distinct from {value} or case f.field {cases} else false end)"


def _when(comparison: Comparison, late: bool) -> str:
    return _is_late(comparison) if late else f"not ({_is_late(comparison)})"


def _is_late(comparison: Comparison) -> str:
    return f"{SINCE} <= %(now)s::timestamptz - interval '{_hours(comparison)!r} hours'"


def _hours(comparison: Comparison) -> float:
    return float(comparison.mapping.handed_to.late_hours) if comparison.mapping.handed_to is not None else 0.0


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
