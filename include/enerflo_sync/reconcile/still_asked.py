"""Questions of the last plan that still stand, although their evidence cannot be seen any more.

Our own write may hide the evidence: a row gets a new time, or the rows of a load no longer have one time in
common. Neither answers the question.
"""

from __future__ import annotations

from string import Template

from enerflo_sync.crm.decision import BLOCKING_RULES, WINNER_RULES
from enerflo_sync.crm.names import literal
from enerflo_sync.reconcile.compare import Comparison

# When the last plan was made: all its parts have one time. It does not depend on the row, so PostgreSQL looks
# it up once.
LAST_PLAN = """(select max(created_at) from sync.plans where account = %(account)s and kind = 'sync')"""

# An array counts as few rows, so that each difference is looked up by a hash. PostgreSQL would go through
# more questions than fit into work_mem for each difference anew.
_ASKED = Template("""coalesce((o.key, f.field, coalesce(f.theirs, 'null')) in (
      select w.key, w.field, w.theirs from unnest(array(
        select row(u.key, u.field, coalesce(u.crm_value, 'null'))
        from sync.plans p join sync.plan_undecided u using (account, plan_hash)
        where p.account = %(account)s and p.kind = 'sync' and p.created_at = $last
          and u.table_name in ($tables) and u.reason = $reason
      )) w (key jsonb, field text, theirs jsonb)), false)""")


def still_asked(comparison: Comparison, rule: str) -> str:
    """Return whether the last plan asked a rule's question about the value that the CRM has in ``f.field``.

    :param rule: name of the rule; of two rules with one name, the first.
    """
    words = next(one.words for one in (*BLOCKING_RULES, *WINNER_RULES) if one.name == rule)
    return _ASKED.substitute(tables=comparison.names_of_table, reason=literal(words), last=LAST_PLAN)
