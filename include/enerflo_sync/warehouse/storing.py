"""What stored records depend on: it stays as it is while somebody stores, and changes while nobody does.

That is which columns ``sync.yaml`` adds to the mirror, and who was forgotten. What was read by the former
rules is committed before they change, so that whoever changes them finds it.
"""

from __future__ import annotations

import sqlalchemy as sa

# The name is that of earlier versions, which may run beside this one.
_KEY = "hashtextextended('enerflo-sync/columns/' || :account, 0)"
_STORING = sa.text(f"select pg_advisory_xact_lock_shared({_KEY})")
_CHANGING = sa.text(f"select pg_advisory_xact_lock({_KEY})")


def storing(connection: sa.Connection, account: str) -> None:
    """Let no rule of the account change until the caller's transaction ends.

    Read the rules after it: a transaction that waited here sees what has changed meanwhile.
    """
    connection.execute(_STORING, {"account": account})


def nobody_stores(connection: sa.Connection, account: str) -> None:
    """Wait until nobody stores records of the account, and let nobody begin until the transaction ends."""
    connection.execute(_CHANGING, {"account": account})
