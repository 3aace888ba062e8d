"""Where the webhook files of each account lie, and what two accounts may not share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from enerflo_sync.crm.config import AccountConfig, SyncConfig
from enerflo_sync.drop.storage import local_path, scheme_of
from enerflo_sync.errors import ConfigurationError

# Two names of one storage.
_SAME = {"s3a": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs"}


@dataclass(frozen=True)
class _Places:
    """A drop and its archive, each in one spelling, and how their storage is opened."""

    account: str
    drop: str
    archive: str
    opened_by: str | None


def require_own_drop(config: SyncConfig, account: str) -> None:
    """Return unless another account would ingest files of this one, or this account those of another.

    :raises ConfigurationError: they have one drop, a drop or an archive lies in the other one's drop, or a
        drop in the other one's archive.
    """
    for what in _mixed(config, account):
        raise ConfigurationError(
            f"{what}: each would take webhooks of the other for its own.",
            where=_where(config, account),
            next_step="Give each account a drop of its own, in which no other one's drop or archive lies.",
        )


def require_own_archive(config: SyncConfig, account: str) -> None:
    """Return unless other accounts keep their files in the account's archive: nobody can say whose one is.

    :raises ConfigurationError: others do.
    """
    if others := sharing_archive(config, account):
        raise ConfigurationError(
            f"its archive is that of {listed_accounts(others)}, too, and nobody can say whose a file is.",
            where=_where(config, account),
            next_step="Give each account a webhook_archive_uri of its own, and move its files there.",
        )


def sharing_archive(config: SyncConfig, account: str) -> Sequence[str]:
    """Return the other accounts whose archived files may lie among those of this one."""
    mine = _places(config.account(account))
    if mine is None:
        return []
    return [
        one.account
        for one in _others(config, mine)
        if _within(one.archive, mine.archive) or _within(mine.archive, one.archive)
    ]


def listed_accounts(names: Sequence[str]) -> str:
    """Return names of accounts for a sentence."""
    return f"account {names[0]}" if len(names) == 1 else f"accounts {', '.join(names)}"


def _where(config: SyncConfig, account: str) -> str:
    place = ("accounts", account, "webhook_drop_uri")
    return f"{config.spot(*place)}: {'.'.join(place)}"


def _mixed(config: SyncConfig, account: str) -> Iterator[str]:
    mine = _places(config.account(account))
    if mine is None:
        return
    for one in _others(config, mine):
        if one.drop == mine.drop:
            yield f"accounts {one.account} and {account} have the same drop"
            continue
        for inner, outer in (("drop", "drop"), ("drop", "archive"), ("archive", "drop")):
            for a, b in ((one, mine), (mine, one)):
                if _within(getattr(a, inner), getattr(b, outer)):
                    yield f"the {inner} of account {a.account} lies in the {outer} of account {b.account}"


def _others(config: SyncConfig, mine: _Places) -> Iterator[_Places]:
    for name, settings in config.accounts.items():
        found = _places(settings) if name != mine.account else None
        if found is not None and found.opened_by == mine.opened_by:
            yield found


def _places(settings: AccountConfig) -> _Places | None:
    if not settings.webhook_drop_uri:
        return None
    drop = _place(settings.webhook_drop_uri)
    archive = _place(settings.webhook_archive_uri) if settings.webhook_archive_uri else None
    opened_by = settings.airflow.storage_connection if "://" in drop else None
    return _Places(settings.name, drop, archive or f"{drop.rpartition('/')[0]}/archive", opened_by)


def _place(uri: str) -> str:
    scheme = scheme_of(uri)
    if scheme == "file":
        return os.path.realpath(local_path(uri))
    return f"{_SAME.get(scheme, scheme)}://{uri.partition('://')[2].strip('/')}"


def _within(inner: str, outer: str) -> bool:
    return f"{inner}/".startswith(f"{outer.rstrip('/')}/")
