"""The asset that stands for an account's webhook drop, and what watches it."""

from __future__ import annotations

from airflow.sdk import Asset, AssetWatcher

from enerflo_airflow.accounts import account_name
from enerflo_airflow.triggers import WebhookDropEventTrigger


def drop_asset(account: str) -> Asset:
    """Return the account's drop as an asset: it counts as changed when files arrive in it."""
    name = account_name("drop", account)
    watcher = AssetWatcher(name=name, trigger=WebhookDropEventTrigger(account))
    return Asset(name=name, uri=f"enerflo://{account}/drop", watchers=[watcher])
