"""An opened account: its configuration, its warehouse, and a client on demand."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from enerflo_sync.clock import Clock, DatabaseClock, SystemClock
from enerflo_sync.copies.database import CrmConnections, crm_engine
from enerflo_sync.copies.salesforce.login import SalesforceLogin
from enerflo_sync.crm.config import AccountConfig, SyncConfig
from enerflo_sync.crm.load import load_config
from enerflo_sync.drop.storage import Store
from enerflo_sync.errors import ConfigurationError
from enerflo_sync.mirror.calls import CallCounter
from enerflo_sync.shipped import find_config
from enerflo_sync.warehouse.engine import ask_time, warehouse_engine
from enerflo_sync.warehouse.request_budget import WarehouseRequestBudget
from enerflo_sync.warehouse.request_lanes import Lane

if TYPE_CHECKING:
    import requests

    from enerflo_sync.copies.salesforce.session import SalesforceSession
    from enerflo_sync.enerflo.client import EnerfloClient

# Entry point group; each entry point is called with account, configuration and the file's path.
OPENERS = "enerflo_sync.accounts"


@dataclass(frozen=True)
class Credentials:
    """Addresses and secrets of one account's two sides, requested only by the job that needs them.

    Each call returns the value or raises :class:`ConfigurationError` that says where to set it.
    """

    base_url: Callable[[], str] = field(repr=False)
    api_key: Callable[[], str] = field(repr=False)
    warehouse_url: Callable[[], str] = field(repr=False)
    crm_engine: Callable[[], sa.Engine] | None = field(default=None, repr=False)
    salesforce: Callable[[], SalesforceLogin] | None = field(default=None, repr=False)
    # Opens the storage of the drop; None leaves its credentials to the storage's library.
    storage: Store | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: AccountConfig) -> Credentials:
        """Return the credentials that the configuration file names."""
        return cls(
            base_url=lambda: settings.need("base_url"),
            api_key=lambda: settings.need("api_key"),
            warehouse_url=lambda: settings.need("warehouse_url"),
        )


@dataclass
class AccountContext:
    """An opened account: its configuration, its warehouse, and a client on demand.

    The HTTP client is imported with the first session: most jobs use the warehouse alone.

    :param clock: for every wait and time stamp. The machine's clock is replaced by the warehouse's
        (:class:`enerflo_sync.clock.DatabaseClock`); any other clock is used unchanged.
    :param rng: for every random choice (jitter, run ids).
    """

    account: str
    config: SyncConfig
    config_path: Path
    credentials: Credentials
    clock: Clock = field(default_factory=SystemClock)
    rng: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        """Replace the machine's clock by the database's, without connecting."""
        if type(self.clock) is SystemClock:
            machine = self.clock
            self.clock = DatabaseClock(machine, lambda: ask_time(self.engine))

    @cached_property
    def settings(self) -> AccountConfig:
        """Return the account's own section of the configuration."""
        return self.config.account(self.account)

    @cached_property
    def engine(self) -> sa.Engine:
        """Return the warehouse's engine, without connecting."""
        return warehouse_engine(self.credentials.warehouse_url())

    @cached_property
    def crm(self) -> CrmConnections | None:
        """Return the way to the CRM's own database; None where the warehouse holds the CRM's tables."""
        if self.settings.crm is None:
            return None
        place = ("accounts", self.account, "crm")
        where = f"{self.config.spot(*place)}: {'.'.join(place)}"
        named = self.credentials.crm_engine
        return CrmConnections(named or (lambda: crm_engine(self.settings.need_crm_url(), where)), where)

    @cached_property
    def session(self) -> requests.Session:
        """Return the HTTP session, with proxies and TLS settings; Airflow's hook sets its own instead."""
        import requests

        return requests.Session()

    @cached_property
    def salesforce(self) -> SalesforceSession:
        """Return the way to Salesforce, without logging in.

        :raises ConfigurationError: its address or login is missing or cannot be used.
        """
        import requests

        from enerflo_sync.copies.salesforce.session import SalesforceSession

        named = self.credentials.salesforce
        login = named() if named is not None else salesforce_login(self.config, self.settings)
        return SalesforceSession(login, requests.Session(), self.clock)

    @cached_property
    def calls(self) -> CallCounter:
        """Return the counter of this context's HTTP calls."""
        return CallCounter()

    @cached_property
    def client(self) -> EnerfloClient:
        """Return the account's client, whose request budget is shared by every process with this key.

        :raises ConfigurationError: the address or the key is missing or cannot be used.
        """
        return self.client_in(Lane.LIVE)

    def client_in(self, lane: Lane) -> EnerfloClient:
        """Return a client whose requests use another lane of the same budget."""
        from enerflo_sync.enerflo.client import EnerfloClient

        return EnerfloClient(
            self.session,
            self.credentials.base_url(),
            self.credentials.api_key(),
            budget=self.budget_in(lane),
            clock=self.clock,
            rng=self.rng,
            on_call=self.calls.add,
        )

    def budget_in(self, lane: Lane) -> WarehouseRequestBudget:
        """Return one lane of the request budget that every process with the account's key shares."""
        fingerprint = key_fingerprint(self.credentials.api_key())
        return WarehouseRequestBudget(self.engine, self.account, fingerprint, self.clock, lane=lane)

    def close(self) -> None:
        """Release the connections. The context may be used again."""
        if "session" in self.__dict__:
            self.session.close()
        if "engine" in self.__dict__:
            self.engine.dispose()
        if self.__dict__.get("crm") is not None:
            self.__dict__["crm"].close()

    @property
    def writes_anything(self) -> bool:
        """Return whether any table of the account has a mode that writes."""
        return self.config.writes_anything(self.account)


def salesforce_login(config: SyncConfig, settings: AccountConfig) -> SalesforceLogin:
    """Return what the section ``salesforce`` of an account names.

    :raises ConfigurationError: an option that it cannot do without has no value.
    """
    named = settings.salesforce
    renewed = not named.token
    place = ("accounts", settings.name, "salesforce")
    return SalesforceLogin(
        settings.need_salesforce("url"),
        f"{config.spot(*place)}: {'.'.join(place)}",
        settings.need_salesforce("client_id") if renewed else named.client_id or "",
        settings.need_salesforce("client_secret") if renewed else named.client_secret or "",
        (named.token or "").strip(),
        named.api_version,
        named.keep_free_percent,
    )


def key_fingerprint(api_key: str) -> str:
    """Return a name for the key in the warehouse that does not reveal it: 16 hex digits of its sha-256."""
    return hashlib.sha256(api_key.encode()).hexdigest()[:16]


def open_account(
    account: str,
    environ: Mapping[str, str],
    config_path: Path | None = None,
    config: SyncConfig | None = None,
) -> AccountContext:
    """Return the account's context with credentials from the configuration and the environment.

    If these name neither a key nor a warehouse, and ``AIRFLOW_HOME`` is set, the credentials come from
    Airflow's connections.

    :param config: what ``config_path`` holds, where it is loaded already.
    :raises ConfigurationError: the file cannot be read, or names no such account; a connection is missing.
    """
    path = config_path or find_config(environ)
    config = config or load_config(path, environ)
    settings = config.account(account)
    if environ.get("AIRFLOW_HOME") and not settings.api_key and not settings.warehouse_url:
        # The Airflow package registers how to open an account, because this package never imports Airflow.
        for elsewhere in entry_points(group=OPENERS):
            try:
                opened: AccountContext = elsewhere.load()(account, config, path)
            except ConfigurationError as missing:
                named = "the variables that sync.yaml names for the account's key and warehouse"
                raise ConfigurationError(
                    missing.what,
                    where=missing.where,
                    next_step=f"{missing.next_step} Or set {named}: this command takes Airflow's connections"
                    " where AIRFLOW_HOME is set and they are not.",
                ) from missing
            return opened
    return AccountContext(account, config, path, Credentials.of(settings))
