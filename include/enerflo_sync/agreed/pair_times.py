"""The times of an agreed pair: each side's own time of change when it was last seen with the agreed value.

They reveal two cases. With ``newest``, a value may differ from its pair while the side's time is still the
time of the pair: an edit bypassed the trigger that sets the time, an import kept the time, or a webhook
brought a milestone before its install's new time. Then the time does not tell when that side was edited. With
``newest`` and ``review``, a record whose time is earlier than in the pair may be an older state of itself, as
from a backup.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import Template

from enerflo_sync.crm.fields import EITHER_SIDE
from enerflo_sync.crm.mapping import RecordKind
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.changed import keeps_times, record_time
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side

# A field as SQL: its name, and the values of both sides.
_Values = tuple[str, str, str]

# A milestone has the time of its install.
_OF_INSTALL = """
    left join enerflo.installs i on i.account = %(account)s and i.install_id = m.owner"""

# Only the times change; how and when the pair was agreed stays. `offset 0` makes PostgreSQL find the changed
# rows first, and then each pair by its key. Otherwise it may read all pairs for a few rows.
_SEEN_AGAIN = Template("""
/* enerflo-sync agree $name: times at which the sides were last seen with the values of their pairs */
update sync.agreed a
set enerflo_time = case when h.mine then h.enerflo_time else a.enerflo_time end,
    crm_time = case when h.theirs then h.crm_time else a.crm_time end
from (
  select p.place, f.enerflo_time, f.crm_time,
         p.value is not distinct from f.mine and p.enerflo_time is distinct from f.enerflo_time as mine,
         case when p.crm_value is null then p.value else nullif(p.crm_value, 'null') end
           is not distinct from f.theirs and p.crm_time is distinct from f.crm_time as theirs
  from (
    select $key as key, m.*, c.changed_at, $crm_columns, $record_time as record_time
    from $keys w join ($mirror) m on $on_mirror join ($crm) c on $on$of_install where m.lives
    offset 0
  ) o cross join lateral ($fields) f
  cross join lateral (
    select a.ctid as place, a.* from sync.agreed a
    where a.account = %(account)s and a.table_name = $table and a.key = o.key and a.field = f.field$of_record
      and a.agreed_by not like 'former%%' offset 0
  ) p
) h where a.ctid = h.place and (h.mine or h.theirs)
""")


def stored_times(comparison: Comparison) -> dict[str, str]:
    """Return the parts of a statement that stores pairs with times; empty if no field needs them."""
    parts = {
        "record_time": f", {record_time(comparison, 'm.own_time', 'i.updated_at')} as record_time",
        "of_install": _of_install(comparison),
        "times": ", enerflo_time, crm_time",
        "times_of_field": ", f.enerflo_time, f.crm_time",
        "set_times": ", enerflo_time = excluded.enerflo_time, crm_time = excluded.crm_time",
        "times_differ": (
            "\n   or (agreed.enerflo_time, agreed.crm_time)"
            " is distinct from (excluded.enerflo_time, excluded.crm_time)"
        ),
    }
    return parts if keeps_times(comparison) else dict.fromkeys(parts, "")


def times_of_column(comparison: Comparison) -> dict[str, str]:
    """Return the parts of the statements that store pairs of one written column, with the CRM row's time."""
    if not keeps_times(comparison):
        return {"set_time": "", "time_of_made": "", "changed": "null::timestamptz"}
    time = comparison.changed_at("t")
    return {"set_time": ", crm_time = n.crm_time", "time_of_made": ", m.crm_time", "changed": time}


def times_of_field(comparison: Comparison, name: str, now: tuple[str, str], pair: tuple[str, str]) -> str:
    """Return ``, … as enerflo_time, … as crm_time`` of a field of a row ``o``; ``""`` if no field needs them.

    A side's time counts only if the pair gets the value that the side has now.

    :param now: SQL of both sides' present values.
    :param pair: SQL of the values that the pair gets.
    """
    if not keeps_times(comparison):
        return ""
    if not _takes_either(comparison, name):
        return ", null::timestamptz as enerflo_time, null::timestamptz as crm_time"
    times = "o.record_time", "o.changed_at"
    held = [
        time if value == stored else f"case when {value} is not distinct from {stored} then {time} end"
        for time, value, stored in zip(times, now, pair, strict=True)
    ]
    return f", {held[0]} as enerflo_time, {held[1]} as crm_time"


def _of_install(comparison: Comparison) -> str:
    return _OF_INSTALL if comparison.kind == RecordKind.MILESTONES else ""


def times_statement(comparison: Comparison, keys: str, fields: Iterable[_Values]) -> str:
    """Return the statement that moves the times of pairs whose values a side still has.

    Takes ``account``.

    :param keys: the table with the join keys of the rows that changed.
    """
    selects = [
        f"select {literal(name)} as field, {mine} as mine, {theirs} as theirs"
        + times_of_field(comparison, name, (mine, theirs), (mine, theirs))
        for name, mine, theirs in fields
        if _takes_either(comparison, name)
    ]
    return _SEEN_AGAIN.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        key=comparison.crm_key(f"c.k{n}" for n, _ in enumerate(comparison.mapping.key_columns, 1)),
        crm_columns=", ".join(f"c.c{n}" for n, _ in enumerate(comparison.fields, 1)),
        keys=keys,
        mirror=mirror_side(comparison),
        on_mirror=comparison.on("m", "w"),
        crm=crm_side(comparison),
        on=comparison.on("m", "c"),
        record_time=record_time(comparison, "m.own_time", "i.updated_at"),
        of_install=_of_install(comparison),
        fields=" union all ".join(selects),
        of_record=comparison.of_record("a", comparison.record_key("o")),
    )


def _takes_either(comparison: Comparison, name: str) -> bool:
    field = comparison.mapping.fields.get(name)
    return field is not None and field.source_of_truth in EITHER_SIDE
