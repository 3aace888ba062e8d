"""The connection type ``enerflo``, and accounts opened with Airflow's connections."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import urlsplit

import requests
import sqlalchemy as sa
from airflow.providers.common.sql.hooks.sql import DbApiHook
from airflow.providers.http.hooks.http import HttpHook
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from airflow.sdk.io import get_fs

from enerflo_airflow.accounts import DEFAULT_ACCOUNT, config_path, sync_config
from enerflo_airflow.records import ListOptions, Record, frame_of, keyed, pages_of, records_of
from enerflo_sync.clock import SystemClock
from enerflo_sync.copies.database import crm_engine
from enerflo_sync.copies.dialects.registry import DIALECTS
from enerflo_sync.copies.salesforce.login import SalesforceLogin
from enerflo_sync.crm.config import SyncConfig
from enerflo_sync.drop.storage import Store
from enerflo_sync.enerflo.budget import UnlimitedBudget
from enerflo_sync.enerflo.client import EnerfloClient, Timeout
from enerflo_sync.enerflo.retry import RetryPolicy
from enerflo_sync.errors import ConfigurationError, EnerfloSyncError
from enerflo_sync.jobs.context import AccountContext, Credentials

if TYPE_CHECKING:
    import pandas as pd
    from fsspec import AbstractFileSystem

DEFAULT_HOST = "enerflo.io"
# Types of a CRM's database whose driver opens it by host, login and schema alone.
_WITHOUT_PROVIDER = ("mysql", "mariadb", "duckdb")
_STORAGE_PROVIDERS = {
    scheme: f"Install apache-airflow-providers-{provider}, or leave airflow.storage_connection out."
    for provider, schemes in {
        "amazon[s3fs]": ("s3", "s3a"),
        "google": ("gs", "gcs"),
        "microsoft-azure": ("abfs", "abfss", "az"),
    }.items()
    for scheme in schemes
}
_FALSE_WORDS = frozenset({"false", "f", "no", "n", "off", "0"})
# A person waits for the Test button, so it gives up sooner than a task.
_TEST_TIMEOUT = Timeout(connect=5.0, read=10.0, total=15.0)
_TEST_RETRY = RetryPolicy(attempts=2, unreachable_attempts=1, unreadable_attempts=1, total_seconds=20.0)


class EnerfloHook(BaseHook):
    """Opens one Enerflo account from an Airflow connection of type ``enerflo``.

    The connection has host, port and, as its password, the API key. Its extras ``verify``, ``ca_bundle`` and
    ``proxy`` set TLS and the proxy. Unknown extras are ignored.

    :param enerflo_conn_id: id of the connection.
    """

    conn_name_attr = "enerflo_conn_id"
    default_conn_name = "enerflo_default"
    conn_type = "enerflo"
    hook_name = "Enerflo"

    def __init__(self, enerflo_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.enerflo_conn_id = enerflo_conn_id

    @cached_property
    def connection(self) -> Connection:
        """Return the Airflow connection.

        :raises ConfigurationError: it is not defined.
        """
        return _connection(self.enerflo_conn_id, "Enerflo")

    @property
    def base_url(self) -> str:
        """Return the connection's address; ``https://enerflo.io`` if it has none.

        The host may be a complete address, such as that of a sandbox: ``http://127.0.0.1:8801``.
        """
        connection = self.connection
        host = (connection.host or DEFAULT_HOST).strip().rstrip("/")
        address = host if "://" in host else f"{connection.schema or 'https'}://{host}"
        parts = urlsplit(address)
        usual_port = {"https": 443, "http": 80}.get(parts.scheme)
        port = connection.port
        if not port or port == usual_port or parts.netloc.rpartition("]")[2].count(":"):
            return address
        return parts._replace(netloc=f"{parts.netloc}:{port}").geturl()

    @property
    def api_key(self) -> str:
        """Return the API key.

        :raises ConfigurationError: the connection has none.
        """
        key = (self.connection.password or "").strip()
        if not key:
            raise ConfigurationError(
                "the connection has no API key.",
                where=f"Airflow connection {self.enerflo_conn_id}",
                next_step="Put the key of Enerflo's company settings into its field API key.",
            )
        return key

    def get_conn(self, account: str = DEFAULT_ACCOUNT) -> requests.Session:
        """Return a session for your own requests to :attr:`base_url`, with the key and the request budget.

        The key goes to that address alone. Each request first takes a slot of the budget that polls and other
        tasks share; nothing is sent a second time. Close the session, or use it in a ``with`` block.

        :param account: the account of ``sync.yaml`` whose budget counts the requests.
        :raises ConfigurationError: the connection is not defined, or its address or key cannot be used. With
            the first request: the account is not defined.
        """
        return keyed(self.plain_session(), self.base_url, self.api_key, lambda: self._opened(account))

    def plain_session(self) -> requests.Session:
        """Return a session with the connection's proxy and TLS settings, but without the key.

        :class:`HttpHook` makes the session. It would also send unknown extras and a login to the vendor, so
        both are removed.
        """
        self.connection  # noqa: B018 - raises our own error if the connection is not defined
        session = HttpHook(http_conn_id=self.enerflo_conn_id).get_conn(
            extra_options={"proxies": self._proxies(), "verify": self._verify()}
        )
        session.headers = requests.utils.default_headers()
        session.auth = None
        return session

    def get_records(self, endpoint: str, **options: Unpack[ListOptions]) -> Iterator[Record]:
        """Yield every record of a list of Enerflo's API, decoded, page after page.

        A record may repeat if rows shift while the list is read. The values are Enerflo's own, unmasked.

        :param endpoint: such as ``/api/v3/installs``.
        :param options: :class:`enerflo_airflow.records.ListOptions`.
        :raises ConfigurationError: the form of the answer is unknown, or a connection is missing.
        :raises RetriableError: the list could not be read completely, or Enerflo does not answer.
        """
        for page in self._pages(endpoint, options):
            yield from page

    def get_records_async(self, endpoint: str, **options: Unpack[ListOptions]) -> AsyncIterator[Record]:
        """Yield records as :meth:`get_records` does, for ``async for``."""
        return records_of(self._pages(endpoint, options))

    def get_df(self, endpoint: str, **options: Unpack[ListOptions]) -> pd.DataFrame:
        """Return a list as one table, read as by :meth:`get_records`; nested names are joined by dots."""
        return frame_of(self._pages(endpoint, options))

    def _pages(self, endpoint: str, options: ListOptions) -> Iterator[list[Record]]:
        return pages_of(lambda: self._opened(options.get("account", DEFAULT_ACCOUNT)), endpoint, options)

    def _opened(self, account: str) -> AccountContext:
        """Return an account with this hook's connection instead of the one in sync.yaml."""
        opened = open_account(account)
        opened.session = self.plain_session()
        opened.credentials = replace(
            opened.credentials, base_url=lambda: self.base_url, api_key=lambda: self.api_key
        )
        return opened

    def test_connection(self) -> tuple[bool, str]:
        """Return whether Enerflo accepts the key, and a sentence with the remedy if not."""
        try:
            address = self.base_url
            client = EnerfloClient(
                self.plain_session(),
                address,
                self.api_key,
                budget=UnlimitedBudget(),
                clock=SystemClock(),
                rng=random.Random(),
                timeout=_TEST_TIMEOUT,
                retry=_TEST_RETRY,
            )
            client.check()
        except EnerfloSyncError as error:
            return False, str(error)
        return True, f"{address} accepts the API key."

    def _extras(self) -> dict[str, Any]:
        return dict(self.connection.extra_dejson)

    def _proxies(self) -> dict[str, str]:
        extras = self._extras()
        if isinstance(extras.get("proxies"), dict):
            return {str(scheme): str(address) for scheme, address in extras["proxies"].items()}
        proxy = str(extras.get("proxy") or "").strip()
        return {"http": proxy, "https": proxy} if proxy else {}

    def _verify(self) -> bool | str:
        extras = self._extras()
        verify = extras.get("verify")
        # A connection written as a URI contains only text values.
        if verify is not None and str(verify).strip().lower() in _FALSE_WORDS:
            return False
        return str(extras.get("ca_bundle") or "").strip() or True


def open_account(account: str, *, reads_enerflo: bool = False) -> AccountContext:
    """Return one account of sync.yaml, opened with the Airflow connections that the file names for it.

    :param reads_enerflo: use the Enerflo connection's proxy and TLS settings; otherwise that connection need
        not exist.
    :raises ConfigurationError: the file has mistakes or no such account, or the connection is not defined.
    """
    return account_of(account, sync_config(), config_path(), reads_enerflo=reads_enerflo)


def account_of(account: str, config: SyncConfig, path: Path, *, reads_enerflo: bool = True) -> AccountContext:
    """Return an account as :func:`open_account` does, from a parsed configuration.

    The command line opens accounts with this function by the entry point ``enerflo_sync.accounts``.
    """
    connections = config.account(account).airflow
    hook = EnerfloHook(connections.enerflo_connection)
    opened = AccountContext(
        account,
        config,
        path,
        Credentials(
            base_url=lambda: hook.base_url,
            api_key=lambda: hook.api_key,
            warehouse_url=lambda: warehouse_url(connections.warehouse_connection),
            crm_engine=lambda: crm_engine_of(config, account),
            salesforce=lambda: salesforce_login_of(config, account),
            storage=storage_of(connections.storage_connection),
        ),
    )
    if reads_enerflo:
        opened.session = hook.plain_session()
    return opened


def crm_engine_of(config: SyncConfig, account: str) -> sa.Engine:
    """Return an engine on the CRM's own database, by the Airflow connection that the account names.

    A type that the engine knows needs no provider: MySQL's would need a C library where PyMySQL does.

    :raises ConfigurationError: the connection is not defined, or its hook has no SQLAlchemy engine.
    """
    named = config.account(account).crm
    conn_id = named.connection if named is not None else "crm_default"
    connection = _connection(conn_id, "the CRM's database")
    try:
        hook = connection.get_hook()
    except AirflowException as error:
        if connection.conn_type in _WITHOUT_PROVIDER:
            return crm_engine(_crm_url(connection))
        raise ConfigurationError(
            f"no provider of the type {connection.conn_type} is installed.",
            where=f"Airflow connection {conn_id}",
            next_step=f"Install it, or use one of the types that need none: {', '.join(_WITHOUT_PROVIDER)}.",
        ) from error
    if not isinstance(hook, DbApiHook):
        raise ConfigurationError(
            "the connection's type is no database.",
            where=f"Airflow connection {conn_id}",
            next_step="Use a connection of a database's type, as mysql, snowflake or duckdb.",
        )
    try:
        engine: sa.Engine = hook.get_sqlalchemy_engine({"hide_parameters": True, "pool_pre_ping": True})
    except ImportError as error:
        raise ConfigurationError(
            f"the driver of the connection's type is not installed ({error.name or error}).",
            where=f"Airflow connection {conn_id}",
            next_step="Install it beside the provider of that type.",
        ) from None
    return engine


def salesforce_login_of(config: SyncConfig, account: str) -> SalesforceLogin:
    """Return the login at Salesforce of the Airflow connection that the account names.

    Its type does not matter: host is the company's own address (My Domain), login an app's consumer key, and
    password its consumer secret. A connection of the Salesforce provider may have them as extras. Without a
    secret the extra ``session_id`` is an access token.

    :raises ConfigurationError: the connection is not defined, or has no address.
    """
    named = config.account(account).salesforce
    connection = _connection(named.connection, "HTTP")
    where = f"Airflow connection {named.connection}"
    extras = {name: str(value).strip() for name, value in connection.extra_dejson.items() if value}
    address = connection.host or extras.get("instance_url") or extras.get("instance") or ""
    if not address:
        raise ConfigurationError(
            "the connection has no host.",
            where=where,
            next_step="Write the company's own address (Setup, My Domain): company.my.salesforce.com.",
        )
    if "://" not in address:
        scheme = connection.schema if connection.schema in ("http", "https") else "https"
        port = f":{connection.port}" if connection.port else ""
        address = f"{scheme}://{address}{port}"
    key, secret = extras.get("consumer_key") or extras.get("client_id"), extras.get("consumer_secret")
    return SalesforceLogin(
        address,
        where,
        key or connection.login or "",
        secret or extras.get("client_secret") or connection.password or "",
        extras.get("session_id", ""),
        named.api_version,
        named.keep_free_percent,
    )


def _crm_url(connection: Connection) -> str:
    """Return the URL of a connection of which no provider is installed; a file stands in schema or host."""
    host, database = connection.host, connection.schema
    if DIALECTS[connection.conn_type].is_file:
        host, database = None, database or host
    url = sa.URL.create(
        connection.conn_type,
        username=connection.login or None,
        password=connection.password or None,
        host=host or None,
        port=connection.port,
        database=database,
        query={name: str(value) for name, value in connection.extra_dejson.items()},
    )
    return url.render_as_string(hide_password=False)


def warehouse_url(conn_id: str) -> str:
    """Return the SQLAlchemy URL of an Airflow connection of type ``postgres``, password included.

    The extras that libpq knows (``sslmode``, ``sslrootcert``, …) are included. A host that begins with ``/``
    is the folder of a unix socket.

    :raises ConfigurationError: the connection is not defined or has another type.
    """
    connection = _connection(conn_id, "Postgres")
    if connection.conn_type not in ("postgres", "postgresql"):
        raise ConfigurationError(
            f"the connection is of type {connection.conn_type}, and the warehouse is PostgreSQL.",
            where=f"Airflow connection {conn_id}",
            next_step="Change its type to Postgres, or name another one under airflow.warehouse_connection.",
        )
    url = PostgresHook(postgres_conn_id=conn_id, sqlalchemy_scheme="postgresql+psycopg").sqlalchemy_url
    extras = {
        name: str(value)
        for name, value in connection.extra_dejson.items()
        if name not in PostgresHook.ignored_extra_options and isinstance(value, str | int)
    }
    if url.host and url.host.startswith("/"):
        # URL.set treats None as "unchanged".
        url, extras = url._replace(host=None), {"host": url.host, **extras}
    return url.update_query_dict(extras).render_as_string(hide_password=False)


def storage_of(conn_id: str | None) -> Store | None:
    """Return what opens a drop's bucket by an Airflow connection; None where no connection is named.

    The provider of the connection's type opens it, as for Airflow's own ``ObjectStoragePath``. What is
    returned raises :class:`ConfigurationError` where the connection is not defined, or no installed provider
    knows the scheme.
    """
    if conn_id is None:
        return None

    def opened(scheme: str) -> AbstractFileSystem:
        _connection(conn_id, "the storage's")
        try:
            return get_fs(scheme, conn_id)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(
                f"no installed provider of Airflow's opens {scheme}://.",
                where=f"Airflow connection {conn_id}",
                next_step=_STORAGE_PROVIDERS.get(scheme, "Leave airflow.storage_connection out."),
            ) from error

    return opened


def _connection(conn_id: str, kind: str) -> Connection:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConfigurationError(
            "the connection is not defined in Airflow.",
            where=f"Airflow connection {conn_id}",
            next_step=f"Create it under Admin, Connections, with the type {kind}.",
        ) from None
