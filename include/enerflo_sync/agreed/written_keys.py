"""The rows that applied changes have written, by their join keys."""

from __future__ import annotations

from string import Template

from enerflo_sync.agreed.written import of_key
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import names_record, row_stands

_WRITTEN_KEYS = Template("""
/* enerflo-sync agree $name: join keys of written rows, with the written fields */
create temporary table $into on commit drop as
select $joins, p.key as written_key, bool_or(p.op = 'insert') as made, min(p.direction) as direction,
       coalesce(jsonb_object_agg(p.field, p.source_value) filter (where p.field is not null), '{}') as written
from sync.plan_changes p join $crm t on $on
where $of_plan and $known and (p.op <> 'update' or $same_record)
group by $names, p.key
$elsewhere
""")
_OF_PLAN = """p.account = %(account)s and p.plan_hash = %(plan_hash)s and p.table_name = {}
  and p.position = any(%(positions)s::bigint[])"""

# An import may have given the row of a record that was written at Enerflo another key since.
_UNDER_ANOTHER_KEY = Template("""union all
select $joins, $key as written_key, false, 'to_enerflo', jsonb_object_agg(p.field, p.source_value)
from sync.plan_changes p
join $mirror e on e.account = p.account and $of_record
join $crm t on $same
where $of_plan and $known and p.op = 'update' and p.direction = 'to_enerflo' and not $stands
group by $names, $key
""")


def written_keys_statement(comparison: Comparison, into: str) -> str:
    """Return the statement that fills the temporary table ``into`` with the rows of applied changes.

    Its parameters are ``account``, ``plan_hash`` and ``positions``.
    """
    of_plan = _OF_PLAN.format(literal(comparison.name))
    common = {
        "joins": comparison.select_join("crm"),
        "names": ", ".join(str(n) for n, _ in enumerate(comparison.joins, 1)),
        "crm": comparison.crm_rows,
        "known": comparison.crm_key_known,
        "of_plan": of_plan,
    }
    elsewhere = ""
    if not comparison.key_is_record:
        elsewhere = _UNDER_ANOTHER_KEY.substitute(
            common,
            key=comparison.crm_key(f"t.{quoted(name)}" for name in comparison.mapping.key_columns),
            mirror=comparison.mirror,
            of_record=" and ".join(
                f"e.{quoted(name)} = (p.enerflo_key ->> {literal(name)})::bigint"
                for name in comparison.mirror_key
            ),
            same=" and ".join(
                f"({join.mirror})::{join.type} = ({join.crm})::{join.type}" for join in comparison.joins
            ),
            stands=row_stands(comparison, "p.key", "p.enerflo_key"),
        )
    return _WRITTEN_KEYS.substitute(
        common,
        name=comparison.name,
        into=into,
        on=of_key(comparison, "p.key"),
        same_record=names_record(comparison, "t", "p.enerflo_key"),
        elsewhere=elsewhere,
    )
