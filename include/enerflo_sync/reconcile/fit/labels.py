"""Values that the CRM says in words of its own, as *Closed Won* for Enerflo's *Completed*."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from enerflo_sync.crm.catalog import Kind
from enerflo_sync.crm.mapping import FieldType, mirror_type
from enerflo_sync.crm.names import literal
from enerflo_sync.masking import PersonalData
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.fit.hint_columns import has_no_form
from enerflo_sync.reconcile.fit.hints import Hint
from enerflo_sync.reconcile.mismatched import crm_side, mirror_side
from enerflo_sync.reconcile.values import Field, mirror_kind

# A value of the CRM is a label of one of Enerflo's if this many rows, and this share of its rows, have it.
LABEL_ROWS = 5
LABEL_SHARE = 0.95
# A field with more different values than this does not hold labels.
LABELS = 50

# Rows of the CRM's table that are looked at before all of them.
FIRST_ROWS = 10_000

# How many rows of a side say what is `$column` of the pairs. Values of fields without a pair are not shown,
# because to show all fields of a million rows takes 3 s.
_COUNTED = Template("""
  select v.field, v.value, count(*) as n
  from ($side) r cross join (select $wanted from $pairs) w cross join lateral (values $shown) v (field, value)
  where exists (select from $pairs) and ($says) and (v.field, v.value) in (select field, $column from $pairs)
  group by 1, 2
""")

# Both tables are read only if a pair of values is new: `fresh` is empty otherwise, and PostgreSQL skips all
# scans. Mostly the first rows of the CRM's table say already that a new pair is no label; then the tables are
# not read either (a reconciliation of a million rows with five such pairs takes 1.6 s instead of 9 s).
_STORED = Template("""
/* enerflo-sync reconcile $name: values that the CRM says in words of its own */
with said as materialized (
  select d.field, d.enerflo_value #>> '{}' as mine, d.crm_value #>> '{}' as theirs, count(*) as n,
         bool_or($has_no_form) as is_plain, coalesce(bool_or(d.hint = '$hint'), false) as is_known
  from sync.differences d
  where d.account = %(account)s and d.reconciliation_id = %(reconciliation_id)s and d.table_name = $table
    and d.field in ($names) and d.cause <> 'equal_after_normalisation'
  group by 1, 2, 3
), few as materialized (
  select field from said group by field having count(distinct mine) <= $most
), labels as materialized (
  select * from (
    select s.*, sum(n) over (partition by field, mine) as of_mine from said s join few using (field)
  ) s
  where is_plain and mine is not null and btrim(theirs) <> '' and n >= $rows and n >= $share * of_mine
    and not exists (select from said o where o.field = s.field and o.mine = s.theirs)
), fresh as materialized (
  select field, mine, theirs, n from labels where not is_known
), in_first as materialized ($in_first
), likely as materialized (
  select f.* from fresh f left join in_first c on c.field = f.field and c.value = f.mine
  where f.n >= $share * (f.n + coalesce(c.n, 0))
), in_crm as materialized ($in_crm
), only_theirs as materialized (
  select f.* from likely f left join in_crm c on c.field = f.field and c.value = f.mine
  where f.n >= $share * (f.n + coalesce(c.n, 0))
), in_enerflo as materialized ($in_enerflo
), told as materialized (
  select field, mine, theirs from labels where is_known
  union all
  select f.field, f.mine, f.theirs from only_theirs f
  where not exists (select from in_enerflo e where e.field = f.field and e.value = f.theirs)
)
update sync.differences d set hint = '$hint' from told t
where d.account = %(account)s and d.reconciliation_id = %(reconciliation_id)s and d.table_name = $table
  and $has_no_form and d.cause <> 'equal_after_normalisation' and d.field = t.field
  and d.enerflo_value #>> '{}' = t.mine and d.crm_value #>> '{}' = t.theirs
""")


def label_statement(comparison: Comparison) -> str | None:
    """Return the statement that gives stored differences the hint ``label``, where no other hint fits them.

    The CRM says all but a few of the rows of one of Enerflo's values by one value of its own, and Enerflo
    nowhere says that. Takes ``account`` and ``reconciliation_id``. None if no field can have labels.
    """
    fields = [one for one in comparison.fields if may_have_labels(comparison, one)]
    if not fields:
        return None
    crm = crm_side(comparison)
    mirror = f"select * from ({mirror_side(comparison)}) m where lives"  # noqa: S608 - names that are checked
    theirs = {one.name: f"{one.crm.shown} #>> '{{}}'" for one in fields}
    mine = {one.name: f"{one.enerflo.shown} #>> '{{}}'" for one in fields}
    return _STORED.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        names=", ".join(literal(one.name) for one in fields),
        rows=LABEL_ROWS,
        share=LABEL_SHARE,
        most=LABELS,
        in_first=_counted(f"{crm} limit {FIRST_ROWS}", theirs, "fresh", "mine"),
        in_crm=_counted(crm, theirs, "likely", "mine"),
        in_enerflo=_counted(mirror, mine, "only_theirs", "theirs"),
        hint=Hint.LABEL,
        has_no_form=has_no_form("d.hint"),
    )


def _counted(side: str, shown: Mapping[str, str], pairs: str, column: str) -> str:
    """Return the select that counts rows of a side by field and value, for the values of some pairs.

    :param side: the select of the side's rows.
    :param shown: SQL of each field's value as it is shown.
    """
    fields = [(f"v{n}", literal(name), value) for n, (name, value) in enumerate(shown.items(), 1)]
    return _COUNTED.substitute(
        side=side,
        pairs=pairs,
        column=column,
        wanted=", ".join(f"array_agg({column}) filter (where field = {of}) as {v}" for v, of, _ in fields),
        shown=", ".join(f"({of}, {value})" for _, of, value in fields),
        says=" or ".join(f"w.{v} is not null and {value} = any(w.{v})" for v, _, value in fields),
    )


def may_have_labels(comparison: Comparison, one: Field) -> bool:
    """Return whether a field's values may be shown and can be labels: never personal data."""
    if one.mapping.personal_kind is not PersonalData.NONE:
        return False
    kind = mirror_kind(mirror_type(comparison.kind, comparison.mapping, one.mapping.enerflo))
    if one.mapping.type is FieldType.BOOLEAN:
        return comparison.live.columns[one.name].kind is Kind.TEXT
    return one.mapping.type is FieldType.TEXT and kind in {Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN}
