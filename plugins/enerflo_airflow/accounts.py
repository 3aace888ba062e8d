"""The accounts of sync.yaml for Airflow: names of DAGs, assets and tags.

Reading the file needs no secret and no warehouse, so DAG files may do it during parsing.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from airflow.sdk import Asset

from enerflo_sync.addresses import DEFAULT_ACCOUNT as DEFAULT_ACCOUNT
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.shipped import named_config


def config_path() -> Path:
    """Return the path of sync.yaml: ``ENERFLO_SYNC_CONFIG``, or the file shipped with the package."""
    return named_config(os.environ)


def sync_config() -> SyncConfig:
    """Return the configuration.

    :raises ConfigurationError: the file cannot be read or has mistakes; Airflow shows the text as the DAG
        file's import error.
    """
    path = config_path()
    if not path.is_file():
        # A pipe can be read only once; what is not there is told by reading it.
        return load_config(path, os.environ)
    return _parsed(path, path.read_bytes(), tuple(sorted(os.environ.items())))


@lru_cache(maxsize=4)
def _parsed(path: Path, _content: bytes, environ: tuple[tuple[str, str], ...]) -> SyncConfig:
    """Return the configuration, parsed once for each content and environment.

    Each page, and each DAG file, would parse it again.
    """
    return load_config(path, dict(environ))


def account_name(job: str, account: str) -> str:
    """Return the name of an account's own DAG or asset: ``enerflo_poll``, ``enerflo_poll__west``."""
    return f"enerflo_{job}" if account == DEFAULT_ACCOUNT else f"enerflo_{job}__{account}"


def account_tags(account: str) -> list[str]:
    """Return the tags of an account's DAGs in the UI."""
    return ["enerflo", f"account:{account}"]


def mirror_asset(account: str) -> Asset:
    """Return the asset for the account's mirror tables."""
    return Asset(name=account_name("mirror", account), uri=f"enerflo://{account}/mirror")


def reconciled_asset(account: str) -> Asset:
    """Return the asset for the account's newest reconciliation."""
    return Asset(name=account_name("reconciled", account), uri=f"enerflo://{account}/reconciled")
