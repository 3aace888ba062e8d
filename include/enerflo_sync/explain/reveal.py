"""``sync.reveals``: who had personal data shown unmasked, and of which record."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.warehouse.schema import reveals


def note_reveal(connection: sa.Connection, account: str, what: str, who: str, now: datetime) -> None:
    """Store that personal data was shown unmasked, in the caller's transaction.

    :param what: the record, such as ``install/4400003``.
    :raises ConfigurationError: nobody is named.
    """
    if not who.strip():
        raise ConfigurationError("nobody is named.", where="--by", next_step="Give the name of who asks.")
    connection.execute(sa.insert(reveals).values(account=account, at=now, who=who.strip(), what=what))
