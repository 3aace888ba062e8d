"""Archives that an account's webhooks went to before ``sync.yaml`` named another place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import sqlalchemy as sa

from enerflo_sync.drop.drop import Drop, storable
from enerflo_sync.drop.open_drop import open_drop
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.warehouse.engine import warehouse_errors

_PLACES = sa.text(r"""
/* enerflo-sync: the archives that files of webhooks went to */
select distinct regexp_replace(f.uri, '/\d{4}/\d\d/\d\d/.*$', '') as place from (
  select source_uri as uri from sync.webhook_events where account = :account
  union all
  select evidence_uri from sync.quarantine where account = :account and kind in ('file', 'event')
) f where f.uri ~ '/\d{4}/\d\d/\d\d/' order by 1
""")


def former_archives(context: AccountContext, drop: Drop) -> dict[str, Callable[[], Drop]]:
    """Return, by address, a function that opens each archive that the account had before the present one.

    A function may fail: the library for a former bucket may not be installed any more.
    """
    with warehouse_errors("former archives"), context.engine.connect() as connection:
        places = connection.scalars(_PLACES, {"account": context.account}).all()
    # Only the archive is read. The drop needs an address too, which is never accessed.
    return {
        place: partial(open_drop, f"{place}.no-drop", place, 0.0, context.credentials.storage)
        for place in places
        if place != storable(drop.archive_uri)
    }
