"""Handed-over deletions that did not arrive: the row changed, left ``where``, or somebody else deleted it."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template
from typing import Any

import sqlalchemy as sa

from enerflo_sync.agreed.whole_rows import as_planned
from enerflo_sync.agreed.written import of_key
from enerflo_sync.reconcile.compare import Comparison

# A deletion is only for the row that the plan saw. If a person edited the row since, the next plan decides
# again. A row that left ``where`` is missing in the comparison, but it was not deleted.
_ANOTHER_ROW = Template("""
/* enerflo-sync plan $name: rows that changed since their deletion was handed over */
update $looked l set seen = case when l.state <> 'open' then null
  when $inside then 'the CRM''s copy shows another row than was to be deleted'
  else 'its row stands outside where by now' end
from sync.crm_changes w join $crm t on $on and $living
where w.account = %(account)s and w.number = l.number and l.op = 'delete'
  and case when $inside then l.state = 'open' and l.seen is null and not ($as_planned)
    else l.seen = 'arrived' end
""")

# If we delete rows by a mark, somebody else deleted a row that is gone without a mark.
_UNMARKED = Template("""
/* enerflo-sync plan $name: deletions whose row is gone without a mark */
update $looked l set seen = case when l.state = 'open' then '$gone' end from sync.crm_changes w
where w.account = %(account)s and w.number = l.number and l.op = 'delete' and l.seen = 'arrived'
  and not exists (select from $crm t where $on)
""")


def end_other_deletions(
    connection: sa.Connection, comparison: Comparison, looked: str, values: Mapping[str, Any], gone: str
) -> None:
    """Correct ``seen`` in the table ``looked`` for deletions that did not arrive.

    :param values: ``account``.
    :param gone: the reason of a change whose row is gone, as SQL.
    """
    named = {"name": str(comparison.name), "looked": looked, "crm": comparison.crm, "gone": gone}
    named["on"] = of_key(comparison, "w.key")
    if comparison.mapping.is_carried:
        connection.exec_driver_sql(_UNMARKED.substitute(named), dict(values))
    statement = _ANOTHER_ROW.substitute(
        named,
        living=comparison.living("t"),
        inside=comparison.inside("t"),
        as_planned=as_planned(comparison),
    )
    connection.exec_driver_sql(statement, dict(values))
