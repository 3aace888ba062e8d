"""The support bundle: a zip file for a person who helps, without secrets and personal data."""

from __future__ import annotations

import json
import platform
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import sqlalchemy as sa

from enerflo_sync.clock import skew_of
from enerflo_sync.crm.account_files import config_files
from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext
from enerflo_sync.jobs.shown_config import shown_account_files, shown_config
from enerflo_sync.warehouse.engine import warehouse_errors
from enerflo_sync.warehouse.revision import LATEST_REVISION, schema_version

RUNS = 200
# Packages whose versions matter to us.
_PACKAGES = re.compile(
    r"enerflo.*|apache-airflow.*|alembic|sqlalchemy.*|psycopg.*|msgspec|pydantic.*|requests|urllib3|fsspec|s3fs"
    r"|gcsfs|adlfs|great-expectations|pandas|pyarrow|fastapi|uvicorn|pymysql|duckdb.*|snowflake.*|jinja2|typer"
)

_SERVER = sa.text("""
/* enerflo-sync support-bundle: the server */
select current_setting('server_version') as version,
       pg_size_pretty(pg_database_size(current_database())) as size, pg_is_in_recovery() as is_replica,
       pg_encoding_to_char(encoding) as encoding, datcollate as collation,
       (select count(*) from pg_stat_activity where datname = current_database()) as sessions,
       (select coalesce(max(extract(epoch from now() - xact_start)), 0)::int from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()) as longest_transaction_seconds
from pg_database where datname = current_database()
""")
_SETTINGS = sa.text("""
/* enerflo-sync support-bundle: settings that jobs feel */
select name, current_setting(name) as value from pg_settings
where name in ('max_connections', 'shared_buffers', 'work_mem', 'maintenance_work_mem',
  'effective_cache_size', 'max_wal_size', 'autovacuum', 'default_transaction_isolation',
  'idle_in_transaction_session_timeout',
  'statement_timeout', 'lock_timeout', 'jit', 'random_page_cost', 'synchronous_commit', 'temp_file_limit',
  'TimeZone', 'wal_level')
""")
_TABLES = sa.text("""
/* enerflo-sync support-bundle: how large our tables are */
select n.nspname || '.' || c.relname as table, greatest(c.reltuples, 0)::bigint as rows_about,
       pg_table_size(c.oid) as table_bytes, pg_indexes_size(c.oid) as index_bytes,
       s.n_dead_tup as dead_rows, s.last_autovacuum, s.last_vacuum, s.last_autoanalyze, s.last_analyze
from pg_class c join pg_namespace n on n.oid = c.relnamespace
left join pg_stat_all_tables s on s.relid = c.oid
where n.nspname in ('enerflo', 'sync') and c.relkind = 'r'
order by pg_total_relation_size(c.oid) desc, 1
""")
_RUNS = sa.text("""
/* enerflo-sync support-bundle: the last runs */
select job, run_id, state, started_at, finished_at, read, applied, unchanged, quarantined, skipped, requests,
       reasons, resources, clock_ahead_seconds
from sync.runs where account = :account order by started_at desc limit :most
""")
_COUNTS: Mapping[str, str] = {
    "watermarks": "select name, value, recorded_at from sync.watermarks where account = :account"
    " order by name",
    "webhook_events": "select state, count(*) as events, min(received_at) as oldest from sync.webhook_events"
    " where account = :account group by 1 order by 1",
    "quarantine": "select kind, reason, state, count(*) as items, min(first_seen_at) as oldest"
    " from sync.quarantine where account = :account group by 1, 2, 3 order by 4 desc limit 100",
    "plans": "select kind, state, count(*) as plans, sum(change_count)::bigint as changes,"
    " max(created_at) as newest from sync.plans where account = :account group by 1, 2 order by 1, 2",
    "ledger": "select decision, direction, count(*) as rows, max(recorded_at) as newest from sync.ledger"
    " where account = :account group by 1, 2 order by 1, 2",
    "ledger_seals": "select kind, count(*) as seals, sum(row_count)::bigint as rows, max(sealed_at) as newest"
    " from sync.ledger_seals where account = :account group by 1 order by 1",
    "reconciliations": "select scope, started_at, finished_at, differences, unexplained"
    " from sync.reconciliations where account = :account order by started_at desc limit 20",
    "backfills": "select state, count(*) as backfills from sync.backfills where account = :account"
    " group by 1",
    "requests": "select endpoint, sum(calls)::bigint as calls, sum(throttled)::bigint as throttled,"
    " sum(failed)::bigint as failed from sync.api_calls where account = :account"
    " and hour > now() - interval '7 days' group by 1 order by 2 desc",
}

# Removed from the texts of reasons and errors: addresses of people and of servers, long numbers, folders.
_REMOVED = (
    (re.compile(r"[\w.+-]+@[\w.-]+"), "(address)"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+"), "(address)"),
    (re.compile(r"(?<![\w.:-])\+?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b"), "(number)"),
    (re.compile(r"(?<!\w)/(?:[\w.@+-]+/)+"), ""),
)
_SECRET_NAME = re.compile(
    r"KEY|SECRET|PASS|PWD|TOKEN|URL|URI|CONN|DSN|PROXY|AUTH|CREDENTIAL|COOKIE|HOOK|SIGNATURE", re.IGNORECASE
)
_VARIABLE = re.compile(r"\$\{(\w+)")
# In an address: the password, and the values of its query.
_IN_ADDRESS = (re.compile(r"//[^/@:]*:([^/@]{4,})@"), re.compile(r"[?&][^=&]+=([^&#]{4,})"))


@dataclass(frozen=True)
class Bundle:
    """A bundle that was written.

    :param parts: the files in it, with the reason where one could not be made.
    """

    path: Path
    parts: Mapping[str, str]


def write_support_bundle(
    context: AccountContext,
    path: Path,
    checks: Callable[[], Iterable[Mapping[str, Any]]],
    environ: Mapping[str, str],
) -> Bundle:
    """Write the bundle of an account into a zip file; a part that cannot be made contains the reason instead.

    The bundle reveals no secret of the environment and no person: values are counts, times, states and our
    own names, and every text is searched for secrets before it is written.

    :param checks: the doctor's checks, as its JSON has them.
    :raises FileExistsError: there is a file at ``path`` already.
    """
    secrets = _secrets(environ, context.config_path)
    told: dict[str, str] = {}
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as bundle:
        for name, make in _parts(context, checks):
            try:
                value, told[name] = make(), ""
            except EnerfloSyncError as error:
                value = {"not_made": str(error)}
                told[name] = _clean(str(error), secrets)
            except Exception as error:
                # A text of an unknown error may hold a row.
                value = {"not_made": type(error).__name__}
                told[name] = type(error).__name__
            text = json.dumps(_cleaned(value, secrets), indent=2, default=str, ensure_ascii=False)
            bundle.writestr(f"{name}.json", text + "\n")
    return Bundle(path, told)


def _parts(
    context: AccountContext, checks: Callable[[], Iterable[Mapping[str, Any]]]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "about", lambda: _about(context)
    yield "configuration", lambda: shown_config(context.config_path)
    yield "account_files", lambda: shown_account_files(context.config_path)
    yield "server", lambda: _server(context)
    yield "tables", lambda: _rows(context, _TABLES)
    yield "runs", lambda: _rows(context, _RUNS, most=RUNS)
    for name, statement in _COUNTS.items():
        query = sa.text(f"/* enerflo-sync support-bundle */ {statement}")
        yield name, lambda query=query: _rows(context, query)  # type: ignore[misc]
    yield "doctor", lambda: [_shown_check(check) for check in checks()]


def _shown_check(check: Mapping[str, Any]) -> dict[str, Any]:
    """Return a check without what its findings quote: labels of records, conditions, names of roles."""
    findings = [{name: one[name] for name in ("severity", "line", "what")} for one in check["findings"]]
    return {**check, "findings": findings}


def _about(context: AccountContext) -> dict[str, Any]:
    versions = {one.metadata["Name"].lower(): one.version for one in distributions() if one.metadata["Name"]}
    return {
        "made_at": datetime.now(UTC),
        "account": context.account,
        "accounts": len(context.config.accounts),
        "accounts_that_cannot_be_used": len(context.config.unusable),
        "mode": str(context.settings.mode),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "schema_revision_of_this_program": LATEST_REVISION,
        "packages": {
            name: version for name, version in sorted(versions.items()) if _PACKAGES.fullmatch(name)
        },
    }


def _server(context: AccountContext) -> dict[str, Any]:
    with warehouse_errors("doctor"), context.engine.connect() as connection:
        version = schema_version(connection)
        found = dict(connection.execute(_SERVER).mappings().one())
        settings: dict[str, str] = dict(connection.execute(_SETTINGS).tuples().all())
    skew = skew_of(context.clock)
    return {
        **found,
        "schema_revision": version.revision,
        "programs_that_may": {"read": version.read_from, "write": version.write_from},
        "clock_ahead_seconds": None if skew is None else skew.total_seconds(),
        "settings": settings,
    }


def _rows(context: AccountContext, query: sa.TextClause, **values: Any) -> list[dict[str, Any]]:
    named = {"account": context.account, **values} if ":account" in query.text else values
    with warehouse_errors("doctor"), context.engine.connect() as connection:
        return [dict(row) for row in connection.execute(query, named).mappings()]


def _secrets(environ: Mapping[str, str], config: Path) -> list[str]:
    """Return the values of the environment that must not be in the bundle, the longest first.

    These are the values of variables with a name such as ``…_KEY``, of variables that hold an address, and of
    variables that the configuration uses.
    """
    taken: set[str] = set()
    for path in config_files(config):
        with suppress(OSError, UnicodeDecodeError):
            taken.update(_VARIABLE.findall(path.read_text(encoding="utf-8")))
    found = set()
    for name, value in environ.items():
        if (_SECRET_NAME.search(name) or name in taken or "://" in value) and len(value) >= 6:
            found.add(value)
            for pattern in _IN_ADDRESS:
                for part in pattern.findall(value):
                    found |= {part, unquote(part)}
    return sorted(found, key=len, reverse=True)


def _cleaned(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {_clean(str(name), secrets): _cleaned(inner, secrets) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner, secrets) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return _clean(value, secrets) if isinstance(value, str) else value


def _clean(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "(removed)")
    for pattern, instead in _REMOVED:
        text = pattern.sub(instead, text)
    return text
