"""The asset for an account's webhook drop, and its watcher."""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from enerflo_airflow.accounts import account_name
from enerflo_airflow.triggers import WebhookDropEventTrigger


def drop_asset(account: str) -> Asset:
    """Return the account's drop as an asset that changes when files arrive."""
    name = account_name("drop", account)
    watcher = AssetWatcher(name=name, trigger=WebhookDropEventTrigger(account))
    return Asset(name=name, uri=f"enerflo://{account}/drop", watchers=[watcher])
