"""A CRM value that changed after its row's time, as an earlier plan shows.

An agreed value shows a later edit that left the row's time as it was
(:func:`enerflo_sync.reconcile.changed.left_its_time`). If both sides never agreed, or if somebody moved the
row's time by another column since, only a plan shows what the CRM said at that time or later.
"""

from __future__ import annotations

from string import Template

from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import CHANGED
from enerflo_sync.reconcile.still_asked import LAST_PLAN, still_asked

# Looked up by the row's key, of which there are few changes, however many a plan has.
_SEEN = Template("""exists (
      select from sync.plan_changes c join sync.plans p using (account, plan_hash)
      where c.key = o.key and c.account = %(account)s and c.table_name in ($tables) and c.field = f.field
        and c.op = 'update' and c.state <> 'applied' and p.kind = 'sync' and p.created_at >= o.left_by_others
        and coalesce(case c.direction when 'to_crm' then c.before else c.source_value end, 'null')
          <> coalesce(f.theirs, 'null'))""")


def seen_otherwise(comparison: Comparison) -> str:
    """Return the condition that an earlier plan saw another CRM value of ``f``, at its row's time or later.

    Then the row's time does not tell when the value was edited. Yet what changes at Enerflo after the last
    plan is later than a value about which that plan asked.
    """
    if not comparison.goes_by_time:
        return "false"
    seen = _SEEN.substitute(tables=comparison.names_of_table)
    later = f"coalesce({CHANGED} > {LAST_PLAN}, false) and {still_asked(comparison, 'time_unsure')}"
    return f"(f.newest and {seen} and not ({later}))"
