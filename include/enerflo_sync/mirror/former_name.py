"""A new account whose company another account had that ``sync.yaml`` does not name any more: a former name.

What is stored under the former name (agreed values, refusals, customers who were forgotten, requests under
way) does not count for the new one. So nothing is read before a person says that it is another account.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

_FORMER = sa.text("""
/* enerflo-sync: accounts that had the same company and are not configured any more */
select account from sync.companies_seen
where account <> all(:configured) and company_id = any(cast(:companies as bigint[]))
union
select account from enerflo.installs
where account in (select account from sync.companies_seen where account <> all(:configured))
  and install_id = any(cast(:installs as bigint[]))
order by account
""")

_NOT_CONFIGURED = sa.text("""
/* enerflo-sync: whether the warehouse has accounts that are not configured any more */
select exists (select from sync.companies_seen where account <> all(:configured))
""")

_FORGOTTEN = sa.text("""
/* enerflo-sync: customers who were forgotten under a former name of the account */
insert into sync.forgotten (account, customer_id, forgotten_at, forgotten_by, run_id, install_ids, uuids)
select distinct on (customer_id) :account, customer_id, forgotten_at, forgotten_by, run_id, install_ids, uuids
from sync.forgotten where account = any(:former) order by customer_id, forgotten_at desc
on conflict (account, customer_id) do nothing
""")


def former_names(
    connection: sa.Connection,
    configured: Collection[str],
    companies: Collection[int],
    installs: Sequence[int],
) -> list[str]:
    """Return the accounts that had one of these companies or installs, and that nobody configures any more.

    :param configured: the names of all accounts of ``sync.yaml``, also of those that cannot be used.
    """
    values = {"configured": list(configured), "companies": sorted(companies), "installs": list(installs)}
    return list(connection.scalars(_FORMER, values))


def some_are_not_configured(connection: sa.Connection, configured: Collection[str]) -> bool:
    """Return whether any account of the warehouse may be a former name of a new one."""
    return bool(connection.scalar(_NOT_CONFIGURED, {"configured": list(configured)}))


def forget_the_same(connection: sa.Connection, account: str, former: Sequence[str]) -> None:
    """Let nobody come back into the mirror who was forgotten under a former name of the account."""
    connection.execute(_FORGOTTEN, {"account": account, "former": list(former)})
