"""What a person must confirm before some databases are read or written."""

from __future__ import annotations

from enerflo_sync.copies.dialects.base import Dialect
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.errors import ConfigurationError


def untried(dialect: Dialect) -> str:
    """Return the warning about a database on which our statements never ran."""
    return f"not tried against a real {dialect.title} by us (only the text of its statements is tested)"


def require_trust(dialect: Dialect, config: SyncConfig, account: str) -> None:
    """Refuse to write tables of a database on which our statements never ran, unless a person allows it.

    :raises ConfigurationError: it is such a database, a mode allows writes to its tables, and
        ``trust_dialect`` is not set.
    """
    crm = config.account(account).crm
    if dialect.tried or crm is None or crm.trust_dialect:
        return
    written = [
        name
        for name, mapping in config.tables_for(account).items()
        if mapping.is_carried and "to_crm" in config.mode_of(account, name).writes
    ]
    if not written:
        return
    raise ConfigurationError(
        f"this release was {untried(dialect)}, and the mode lets {', '.join(written)} be written there.",
        where=f"{config.spot('accounts', account, 'crm')}: accounts.{account}.crm",
        next_step="Start with mode: report (or enerflo) and look at the report. Then try one row, and write"
        " trust_dialect: true there.",
    )


def require_empty_texts(dialect: Dialect, config: SyncConfig, account: str) -> None:
    """Refuse to compare texts with a database that stores empty texts as null, unless the account allows it.

    :raises ConfigurationError: it is such a database, and ``empty_is_null`` is not set.
    """
    crm = config.account(account).crm
    if not dialect.empty_is_null or crm is None or crm.empty_is_null:
        return
    raise ConfigurationError(
        f"{dialect.title} keeps an empty text as null: an empty text of Enerflo would differ for ever.",
        where=f"{config.spot('accounts', account, 'crm')}: accounts.{account}.crm",
        next_step="Write empty_is_null: true there.",
    )
