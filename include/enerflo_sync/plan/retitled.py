"""Wide columns whose milestone has another title by now, or whose title is another one's: a person decides.

Both sides agreed on values of the former milestone. The other one's dates are no edit of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

import sqlalchemy as sa

from enerflo_sync.crm.live.milestone_titles import kept_titles, retitled, titled_columns
from enerflo_sync.crm.names import literal, quoted
from enerflo_sync.crm.wide import is_milestone
from enerflo_sync.reconcile.compare import Comparison

REASON = "another milestone has this title by now: name the milestone by its id in sync.yaml"

# An edit of the CRM that fills an empty date overwrites nothing.
_ASK = Template("""
/* enerflo-sync plan $name: columns whose title another milestone has by now */
update pg_temp.decided d set outcome = 'review', after = null, reason = $reason,
  before = case d.outcome when 'to_crm' then d.source_value else d.before end,
  source_value = case d.outcome when 'to_crm' then d.before else d.source_value end
where d.table_name = $table and d.field = $field and d.op = 'update'
  and (d.outcome = 'to_crm' or d.outcome = 'to_enerflo' and coalesce(d.before, 'null') <> 'null')
  and exists (
    select from enerflo.milestones m
    where m.account = %(account)s and m.install_id = (d.enerflo_key ->> 'install_id')::bigint
      and m.milestone_id = any(%(moved)s::bigint[]) and m.deleted_at is null and $named)
""")

# One question for the column, about the first install. Where both sides have no value, nothing else would
# show that the column is not compared.
_ASK_ONCE = Template("""
/* enerflo-sync plan $name: a column whose milestone has another title by now */
insert into pg_temp.decided (outcome, table_name, key, enerflo_key, op, field, policy, cause, rule, reason)
select 'review', $table, $key, jsonb_build_object('install_id', e.install_id), 'update', $field, 'review',
       'missing_in_enerflo', 'milestone_missing', $reason
from enerflo.milestones e join $rows t on $on
where e.account = %(account)s and e.deleted_at is null and e.milestone_id = any(%(renamed)s::bigint[])
  and not exists (
    select from enerflo.milestones m
    where m.account = e.account and m.install_id = e.install_id and m.deleted_at is null and $named)
order by e.install_id limit 1
""")


def ask_about_retitled(connection: sa.Connection, comparisons: Sequence[Comparison], account: str) -> None:
    """Make questions in ``decided`` of changes from or to a milestone that has another one's title.

    A column of which some installs have the milestone under another title becomes one question.
    """
    for comparison in comparisons:
        if not (titled := titled_columns(comparison.mapping)):
            continue
        titles = kept_titles(connection, account)
        for column, title in titled.items():
            if moved := titles.moved_to(title):
                place = _place(comparison, column, title)
                statement = _ASK.substitute(place, reason=literal(REASON))
                connection.exec_driver_sql(statement, {"account": account, "moved": moved})
        for one in retitled(connection, comparison.mapping, account):
            if one.renamed:
                statement = _ASK_ONCE.substitute(
                    _place(comparison, one.column, one.title),
                    key=comparison.crm_key(f"t.{quoted(name)}" for name in comparison.mapping.key_columns),
                    rows=comparison.crm_rows,
                    on=" and ".join(
                        f"({join.crm})::{join.type} = ({join.mirror})::{join.type}"
                        for join in comparison.joins
                    ),
                    reason=literal(f"{one.found}: name the milestone by its id in sync.yaml"),
                )
                connection.exec_driver_sql(statement, {"account": account, "renamed": list(one.renamed)})


def _place(comparison: Comparison, column: str, title: str) -> dict[str, str]:
    return {
        "name": comparison.name,
        "table": literal(comparison.name),
        "field": literal(column),
        "named": is_milestone(title, "m"),
    }
