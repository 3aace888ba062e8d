"""A CRM value that was not edited at its row's time, as an earlier plan shows.

An agreed value shows a later edit that left the row's time as it was
(:func:`enerflo_sync.reconcile.changed.left_its_time`). If both sides never agreed, or if somebody moved the
row's time by another column since, only a plan shows what the CRM said at that time or later. And if a plan
saw the value before Enerflo's change, the row's later time is that of another column.
"""

from __future__ import annotations

from string import Template

from enerflo_sync.reconcile.compare import Comparison
from enerflo_sync.reconcile.judged_rows import CHANGED
from enerflo_sync.reconcile.still_asked import LAST_PLAN, still_asked

# Looked up by the row's key, of which there are few changes, however many a plan has.
_SEEN = Template("""exists (
      select from sync.plan_changes c join sync.plans p using (account, plan_hash)
      cross join lateral (select
        coalesce(case c.direction when 'to_crm' then c.before else c.source_value end, 'null') as theirs,
        coalesce(case c.direction when 'to_crm' then c.source_value else c.before end, 'null') as mine
      ) s
      where c.key = o.key and c.account = %(account)s and c.table_name in ($tables) and c.field = f.field
        and c.op = 'update' and c.state <> 'applied' and p.kind = 'sync'
        and case when s.theirs <> coalesce(f.theirs, 'null') then p.created_at >= o.left_by_others
          else case when s.mine <> coalesce(f.mine, 'null') then date_trunc('second', p.created_at)
              else p.created_at end <= $in_enerflo and $in_enerflo < o.changed_in_crm
            and (a.account is null or p.created_at > a.agreed_at) end)""")


def seen_otherwise(comparison: Comparison, in_enerflo: str) -> str:
    """Return the condition that an earlier plan shows that the CRM's ``f`` was not edited at its row's time.

    It saw another value at that time or later, or this value before Enerflo's change. Enerflo's times are of
    whole seconds: within one, the plan came before the change if it saw another value of Enerflo. Yet what
    changes at Enerflo after the last plan is later than a value about which that plan asked.

    Where nothing is agreed on any more, because the column got another name, the question of the last plan
    stands until somebody changes Enerflo's record or saves the CRM's row.

    :param in_enerflo: SQL of when Enerflo's value changed.
    """
    if not comparison.goes_by_time:
        return "false"
    seen = _SEEN.substitute(tables=comparison.names_of_table, in_enerflo=in_enerflo)
    asked = still_asked(comparison, "time_unsure")
    later = f"coalesce({CHANGED} > {LAST_PLAN}, false)"
    saved = f"coalesce(o.left_by_others > {LAST_PLAN}, false)"
    stands = f"a.account is null and {asked} and not {later} and not {saved}"
    return f"(f.newest and ({seen} and not ({later} and {asked}) or {stands}))"
