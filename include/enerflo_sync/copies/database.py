"""Opening the CRM's own database, and what its errors mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import Dialect, driver_missing
from enerflo_sync.copies.dialects.registry import DIALECTS
from enerflo_sync.crm.problems import listed
from enerflo_sync.errors import ConfigurationError, RetriableError

WHERE = "the CRM's database"
# How long a file is waited for that another process has open, and how often it is tried.
_FILE_SECONDS = 60.0
_LOOK_AGAIN = 0.1


class CrmConnections:
    """Opens connections to the database of an account's CRM tables.

    :param engine: makes the engine: from a URL, or from an Airflow connection.
    """

    def __init__(self, engine: Callable[[], sa.Engine]) -> None:
        self._make = engine
        self._engine: sa.Engine | None = None

    @property
    def engine(self) -> sa.Engine:
        """Return the engine, made when it is first asked for."""
        if self._engine is None:
            self._engine = self._make()
        return self._engine

    @property
    def dialect(self) -> Dialect:
        """Return what the database speaks.

        :raises ConfigurationError: it is none that is known.
        """
        return dialect_of(self.engine.dialect.name)

    @contextmanager
    def connected(self, doing: str) -> Iterator[sa.Connection]:
        """Yield a connection whose errors are told in our words.

        :param doing: what the job does there: ``reading crm.installs``.
        :raises RetriableError: the database is away, busy, or was lost.
        :raises ConfigurationError: it refuses the login, a right, or the statement.
        """
        dialect = self.dialect
        try:
            with self._opened() as connection:
                dialect.begin(connection)
                yield connection
        except sa.exc.DBAPIError as error:
            # The driver's text may hold a row.
            raise _explained(error, dialect, doing) from None

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Keep a file open over several connections: opening it costs more than most reads of it."""
        if not self.dialect.is_file:
            yield
            return
        with self.connected("opening it"):
            kept = self.engine.connect()
        with kept:
            yield

    def _opened(self) -> sa.Connection:
        """Return a connection; wait for a file while another process has it open."""
        until = time.monotonic() + _FILE_SECONDS
        while True:
            try:
                return self.engine.connect()
            except sa.exc.DBAPIError as error:
                if not self.dialect.is_taken(error) or time.monotonic() > until:
                    raise
                time.sleep(_LOOK_AGAIN)

    def close(self) -> None:
        """Release the connections."""
        if self._engine is not None:
            self._engine.dispose()


def dialect_of(name: str) -> Dialect:
    """Return a database's dialect by the name of SQLAlchemy's.

    :raises ConfigurationError: there is none of that name.
    """
    if name not in DIALECTS:
        raise ConfigurationError(
            f"{name} is no database that CRM tables can be read from.",
            where="accounts.*.crm.url",
            next_step=f"Use {listed(DIALECTS)}.",
        )
    return DIALECTS[name]


def crm_engine(url: str) -> sa.Engine:
    """Return an engine on the CRM's database, without connecting.

    :raises ConfigurationError: the text is no URL, its database is not known, or its driver is missing.
    """
    name, separator, rest = url.strip().partition("://")
    backend = name.partition("+")[0].lower()
    backend = "postgresql" if backend == "postgres" else backend
    dialect = dialect_of(backend) if separator else None
    if dialect is None:
        raise ConfigurationError(
            "the address of the CRM's database is no URL.",
            where="accounts.*.crm.url",
            next_step="Write it as mysql://user:password@host:3306/database.",
        )
    opened = name if "+" in name else dialect.drivers.get(backend, name)
    try:
        # A statement's parameters are customers' data. A file is closed as soon as a job is done with it.
        return sa.create_engine(
            f"{opened}://{rest}",
            hide_parameters=True,
            pool_pre_ping=True,
            poolclass=sa.NullPool if dialect.is_file else None,
        )
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        missing = error if isinstance(error, ImportError) else ImportError(str(error))
        raise driver_missing(dialect, missing) from None
    except sa.exc.ArgumentError:
        raise ConfigurationError(
            "the address of the CRM's database is no URL.",
            where="accounts.*.crm.url",
            next_step="Write it as mysql://user:password@host:3306/database.",
        ) from None


def _explained(error: sa.exc.DBAPIError, dialect: Dialect, doing: str) -> ConfigurationError | RetriableError:
    kind = type(error.orig).__name__
    numbers = (getattr(error.orig, "errno", None), *getattr(error.orig, "args", ()))
    number = next((str(one) for one in numbers if isinstance(one, int)), "")
    said = f"{kind} {number}".strip()
    refused = dialect.refusal(error)
    if refused is not None:
        return ConfigurationError(
            f"{dialect.title} {refused} while {doing} ({said}).",
            where=WHERE,
            next_step="Check user, password, database and rights of accounts.*.crm, or of its connection.",
        )
    if dialect.refuses_a_statement(error):
        return ConfigurationError(
            f"{dialect.title} does not take a statement while {doing} ({said}).",
            where=WHERE,
            next_step="Check where in sync.yaml, the names of table and columns, and the role's rights.",
        )
    return RetriableError(
        f"{dialect.title} was lost, or is away or busy, while {doing} ({said}).",
        where=WHERE,
        next_step="Check that it runs and that its address and login are right, then run it again.",
    )
