"""Values that the CRM says in words of its own, as *Closed Won* for Enerflo's *Completed*."""

from __future__ import annotations

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

# Both tables are read only if a pair of values is new: `fresh` is empty otherwise, and PostgreSQL skips both
# scans.
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
), in_crm as materialized (
  select v.field, v.value, count(*) as n
  from ($crm_side) c cross join lateral (values $theirs) v (field, value)
  where exists (select from fresh) and (v.field, v.value) in (select field, mine from fresh) group by 1, 2
), in_enerflo as materialized (
  select distinct v.field, v.value from ($mirror_side) m cross join lateral (values $mine) v (field, value)
  where exists (select from fresh) and m.lives and (v.field, v.value) in (select field, theirs from fresh)
), told as materialized (
  select field, mine, theirs from labels where is_known
  union all
  select f.field, f.mine, f.theirs from fresh f
  left join in_crm c on c.field = f.field and c.value = f.mine
  where f.n >= $share * (f.n + coalesce(c.n, 0))
    and not exists (select from in_enerflo e where e.field = f.field and e.value = f.theirs)
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
    return _STORED.substitute(
        name=comparison.name,
        table=literal(comparison.name),
        names=", ".join(literal(one.name) for one in fields),
        rows=LABEL_ROWS,
        share=LABEL_SHARE,
        most=LABELS,
        crm_side=crm_side(comparison),
        mirror_side=mirror_side(comparison),
        theirs=", ".join(f"({literal(one.name)}, {one.crm.shown} #>> '{{}}')" for one in fields),
        mine=", ".join(f"({literal(one.name)}, {one.enerflo.shown} #>> '{{}}')" for one in fields),
        hint=Hint.LABEL,
        has_no_form=has_no_form("d.hint"),
    )


def may_have_labels(comparison: Comparison, one: Field) -> bool:
    """Return whether a field's values may be shown and can be labels: never personal data."""
    if one.mapping.personal_kind is not PersonalData.NONE:
        return False
    kind = mirror_kind(mirror_type(comparison.kind, comparison.mapping, one.mapping.enerflo))
    if one.mapping.type is FieldType.BOOLEAN:
        return comparison.live.columns[one.name].kind is Kind.TEXT
    return one.mapping.type is FieldType.TEXT and kind in {Kind.TEXT, Kind.INTEGER, Kind.BOOLEAN}
