"""The accounts of sync.yaml for Airflow: names of DAGs and assets.

Reading its files needs no secret and no warehouse, so DAG files may do it during parsing.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from airflow.sdk import Asset, get_parsing_context

from enerflo_airflow.executors import executor_problems
from enerflo_sync.addresses import DEFAULT_ACCOUNT as DEFAULT_ACCOUNT
from enerflo_sync.crm.account_files import FOLDER, account_of, config_files
from enerflo_sync.crm.config import AccountConfig, SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.crm.problems import InvalidConfigurationError
from enerflo_sync.shipped import named_config

# The DAG that reads the configuration of all accounts.
ACCOUNTS_DAG = "enerflo_accounts"

# For how long the configuration that was read last is used again. A DAG file asks several times for each of
# its DAGs, and two hundred accounts have two hundred files.
_TRUSTED_SECONDS = 1.0
_RECENT_SECONDS = 0.05
# The variable that Airflow sets while it parses a DAG file in order to run a task.
_OF_A_TASK = b"_AIRFLOW_PARSING"


@dataclass(frozen=True)
class _Look:
    """The configuration as it was read, with a cheap sign (``seen``) that changes when a file is written."""

    seen: object
    until: float
    config: SyncConfig


_newest: _Look | None = None
_looked_at = 0.0


def config_path() -> Path:
    """Return the path of sync.yaml: ``ENERFLO_SYNC_CONFIG``, or the file shipped with the package."""
    return named_config(os.environ)


def sync_config() -> SyncConfig:
    """Return the configuration, at most a second old where an account's file was edited in its place.

    An account whose own file has mistakes is left out of it (:attr:`SyncConfig.unusable`).

    :raises ConfigurationError: sync.yaml cannot be read or has mistakes; Airflow shows the text as the DAG
        file's import error.
    """
    global _newest, _looked_at
    path = config_path()
    about = file_state(path)
    if about is None:
        # A pipe can be read only once; what is not there is told by reading it.
        return load_config(path, os.environ)
    # In bytes, since the names and values of a hundred variables take long to decode.
    environ = tuple(item for item in os.environb.items() if not item[0].startswith(_OF_A_TASK))
    seen, newest = (path, about, file_state(path.parent / FOLDER), environ), _newest
    if newest is None or newest.seen != seen or time.monotonic() > newest.until:
        content = tuple((file, _content(file)) for file in config_files(path))
        newest = _Look(seen, time.monotonic() + _TRUSTED_SECONDS, _parsed(path, content, environ))
        _newest = newest
    _looked_at = time.monotonic()
    return newest.config


def parsed_config() -> SyncConfig:
    """Return the configuration as :func:`sync_config` read it a moment ago, or reads it now.

    For what a DAG file asks several times for each of its hundreds of DAGs.
    """
    is_recent = time.monotonic() - _looked_at < _RECENT_SECONDS
    return _newest.config if _newest is not None and is_recent else sync_config()


def look_again() -> None:
    """Have the next call of :func:`sync_config` look at every file: one was written, as the caller knows."""
    global _newest
    _newest = None


def parsed_accounts(job: str) -> list[AccountConfig]:
    """Return the accounts for which a DAG file makes the DAG of a job.

    All that can be used; where the file is parsed to run one task, the one to which that task's DAG belongs.

    :raises ConfigurationError: the account of that task cannot be used; the task's log has the text.
    """
    wanted, config = get_parsing_context().dag_id, sync_config()
    if wanted is not None:
        return [config.account(name) for name in config.names if account_name(job, name) == wanted]
    problems = executor_problems(config)
    shared = [one for one in dict.fromkeys(problems.values()) if not account_of(one, config.file)]
    if shared:
        raise InvalidConfigurationError(config.file, shared)
    return [one for name, one in config.accounts.items() if name not in problems]


def require_every_account() -> None:
    """Refuse a configuration in which an account cannot be used, as the import error of one DAG file.

    :raises ConfigurationError: it lists the mistakes of those accounts. The DAGs of the others stay.
    """
    config = sync_config()
    problems = [one for several in config.unusable.values() for one in several]
    problems += dict.fromkeys(executor_problems(config).values())
    if problems:
        raise InvalidConfigurationError(config.file, problems)


def checks_accounts() -> bool:
    """Return whether a DAG file makes the DAG that checks all accounts: where there are several."""
    return get_parsing_context().dag_id in (None, ACCOUNTS_DAG) and len(sync_config().names) > 1


def file_state(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file or folder is written; None where there is neither."""
    try:
        about = path.stat()
    except OSError:
        return None
    is_readable_again = stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode)
    return (about.st_mtime_ns, about.st_size, about.st_ino) if is_readable_again else None


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        # Loading tells why.
        return None


@lru_cache(maxsize=4)
def _parsed(
    path: Path, _content: tuple[tuple[Path, bytes | None], ...], environ: tuple[tuple[bytes, bytes], ...]
) -> SyncConfig:
    """Return the configuration, parsed once for each content of its files and each environment.

    Each page, and each DAG file, would parse it again.
    """
    return load_config(path, {os.fsdecode(name): os.fsdecode(value) for name, value in environ})


def account_name(job: str, account: str) -> str:
    """Return the name of an account's own DAG or asset: ``enerflo_poll``, ``enerflo_poll__west``."""
    return f"enerflo_{job}" if account == DEFAULT_ACCOUNT else f"enerflo_{job}__{account}"


def mirror_asset(account: str) -> Asset:
    """Return the asset for the account's mirror tables."""
    return Asset(name=account_name("mirror", account), uri=f"enerflo://{account}/mirror")


def reconciled_asset(account: str) -> Asset:
    """Return the asset for the account's newest reconciliation."""
    return Asset(name=account_name("reconciled", account), uri=f"enerflo://{account}/reconciled")
