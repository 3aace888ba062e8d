"""Opening the CRM's own database, and what its errors mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import UNPROVEN, Dialect, RemoteRelation, driver_missing
from enerflo_sync.copies.dialects.registry import DIALECTS
from enerflo_sync.crm.problems import listed
from enerflo_sync.errors import ConfigurationError, RetriableError
from enerflo_sync.warehouse.engine import is_of_warehouse

# The option that errors name if the caller gives no line of sync.yaml.
WHERE = "accounts.*.crm"
# How long to wait for a file that another process has open, and the interval of attempts.
_FILE_SECONDS = 60.0
_LOOK_AGAIN = 0.1


# One database has several addresses: the command line has a URL, Airflow a connection.
_SAME_BACKENDS = {"mariadb": "mysql"}
_USUAL_PORTS = {"postgresql": 5432, "mysql": 3306, "redshift": 5439, "mssql": 1433, "oracle": 1521}


def place_of(url: sa.URL) -> str:
    """Return the identity of the database at an address, the same text for its usual spellings.

    The text has no driver, user, password, usual port or options. A file has its whole path. A MySQL server
    has no database, because there the schema of each table is the database.
    """
    backend = _SAME_BACKENDS.get(url.get_backend_name(), url.get_backend_name())
    database = None if backend == "mysql" else url.database
    if backend == "duckdb" and database and ":" not in database:
        database = str(Path(database).resolve())
    return sa.URL.create(
        backend,
        host=url.host.lower() if url.host else None,
        port=None if url.port == _USUAL_PORTS.get(backend) else url.port,
        database=database,
        # A socket in the file system is an option of the address.
        query={name: url.query[name] for name in ("host", "unix_socket") if name in url.query},
    ).render_as_string()


class CrmConnections:
    """Opens connections to the database of an account's CRM tables.

    :param engine: makes the engine: from a URL, or from an Airflow connection.
    :param where: the section of sync.yaml that names the database, for errors.
    :ivar sent: how many statements were sent to it.
    """

    def __init__(self, engine: Callable[[], sa.Engine], where: str = WHERE) -> None:
        self._make = engine
        self._where = where
        self._engine: sa.Engine | None = None
        self._relations: dict[tuple[str, str], RemoteRelation] = {}
        self.sent = 0

    @property
    def engine(self) -> sa.Engine:
        """Return the engine, made when it is first asked for."""
        if self._engine is None:
            self._engine = self._make()
            sa.event.listen(self._engine, "before_cursor_execute", self._count)
        return self._engine

    def _count(self, *_execution: object) -> None:
        self.sent += 1

    @property
    def place(self) -> str:
        """Return the identity of the database (:func:`place_of`)."""
        return place_of(self.engine.url)

    @property
    def dialect(self) -> Dialect:
        """Return the SQL dialect of the database.

        :raises ConfigurationError: the dialect is not known.
        """
        return dialect_of(self.engine.dialect.name, self._where)

    def relation(
        self, theirs: sa.Connection, schema: str, table: str, *, again: bool = False
    ) -> RemoteRelation:
        """Return a table or view as the database's catalog describes it; no columns if it is missing.

        The catalog is read once per table, since some databases answer such queries slowly.

        :param again: read the catalog again, as each new copy does.
        """
        if again or (schema, table) not in self._relations:
            self._relations[schema, table] = self.dialect.relation(theirs, schema, table)
        return self._relations[schema, table]

    @contextmanager
    def connected(self, doing: str) -> Iterator[sa.Connection]:
        """Yield a connection whose errors become ours; errors of the warehouse pass through.

        :param doing: what the job does: ``reading crm.installs``.
        :raises RetriableError: the database is away or busy, or the connection was lost.
        :raises ConfigurationError: the database refuses the login, a right, or the statement.
        """
        dialect = self.dialect
        try:
            with self._opened() as connection:
                dialect.begin(connection)
                yield connection
        except sa.exc.DBAPIError as error:
            if is_of_warehouse(error):
                raise
            # The driver's text may contain a row.
            raise _explained(error, dialect, doing, self._where) from None

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
        """Return a connection; wait if another process has the file open."""
        if self.dialect.is_file:
            self._require_file()
        until = time.monotonic() + _FILE_SECONDS
        while True:
            try:
                return self.engine.connect()
            except sa.exc.DBAPIError as error:
                if not self.dialect.is_taken(error) or time.monotonic() > until:
                    raise
                time.sleep(_LOOK_AGAIN)

    def _require_file(self) -> None:
        """Refuse a missing file: opening its name would create an empty database."""
        name = self.engine.url.database
        if name and not name.startswith(":") and "://" not in name and not Path(name).exists():
            raise ConfigurationError(
                f"there is no file {name}.",
                where=self._where,
                next_step=f"Correct its path: {self.dialect.title}'s URL has three slashes before a path"
                " that begins in the present folder, and four before one that begins with /.",
            )

    def close(self) -> None:
        """Release the connections."""
        if self._engine is not None:
            self._engine.dispose()


def dialect_of(name: str, where: str = WHERE) -> Dialect:
    """Return the dialect for a dialect name of SQLAlchemy.

    :raises ConfigurationError: the name is not known.
    """
    if name not in DIALECTS:
        raise ConfigurationError(
            f"{name} is no database that CRM tables can be read from.",
            where=where,
            next_step=f"Use {listed(DIALECTS)}.",
        )
    return DIALECTS[name]


def crm_engine(url: str, where: str = WHERE) -> sa.Engine:
    """Return an engine on the CRM's database, without connecting.

    :param where: the section of sync.yaml that names the database, for errors.
    :raises ConfigurationError: the text is not a URL, the database is not known, or its driver is missing.
    """
    name, separator, rest = url.strip().partition("://")
    if not separator:
        raise _no_url(where)
    backend = name.partition("+")[0].lower()
    backend = "postgresql" if backend == "postgres" else backend
    dialect = dialect_of(backend, where)
    opened = name if "+" in name else dialect.drivers.get(backend, name)
    try:
        # A statement's parameters are customers' data. A file is closed as soon as a job no longer needs it.
        return sa.create_engine(
            f"{opened}://{rest}",
            hide_parameters=True,
            pool_pre_ping=True,
            poolclass=sa.NullPool if dialect.is_file else None,
        )
    except (ImportError, sa.exc.NoSuchModuleError) as error:
        missing = error if isinstance(error, ImportError) else ImportError(str(error))
        raise driver_missing(dialect, missing, where) from None
    except (sa.exc.ArgumentError, ValueError):
        # An invalid port number is a ValueError.
        raise _no_url(where) from None


def _no_url(where: str) -> ConfigurationError:
    # The text itself may hold a password.
    return ConfigurationError(
        "the address of the CRM's database is no URL.",
        where=where,
        next_step="Write it as mysql://user:password@host:3306/database, or duckdb:///folder/file.duckdb."
        " A sign like @, : or / in a password is written as %40, %3A or %2F.",
    )


def error_name(error: sa.exc.DBAPIError) -> str:
    """Return the driver's name and number of an error, but not its text, which may contain a row."""
    numbers = (getattr(error.orig, "errno", None), *getattr(error.orig, "args", ()))
    number = next((str(one) for one in numbers if isinstance(one, int)), "")
    return f"{type(error.orig).__name__} {number}".strip()


def _explained(
    error: sa.exc.DBAPIError, dialect: Dialect, doing: str, where: str
) -> ConfigurationError | RetriableError:
    name = error_name(error)
    refused = dialect.refusal(error)
    if refused is not None:
        to_check = "host and TLS options" if refused == UNPROVEN else "user, password, database and rights"
        return ConfigurationError(
            f"{dialect.title} {refused} while {doing} ({name}).",
            where=where,
            next_step=f"Check {to_check} of its url, or of its Airflow connection.",
        )
    if dialect.only_reads(error):
        return RetriableError(
            f"{dialect.title} only reads at this address: it was refused while {doing} ({name}).",
            where=where,
            next_step="It is a replica, or its server, file or role is set to read only. Give the address of"
            " the one that takes writes (the primary), then run it again: what could not be written waits.",
        )
    if dialect.refuses_a_statement(error):
        return ConfigurationError(
            f"{dialect.title} does not take a statement while {doing} ({name}).",
            where=where,
            next_step="Check where of the table, the names of table and columns, and the role's rights.",
        )
    if dialect.is_file:
        return RetriableError(
            f"the file of {dialect.title} could not be opened or read while {doing} ({name}).",
            where=where,
            next_step=f"Check that it is a file of {dialect.title}, that this user may read and write it, and"
            " that no other process keeps it open; then run it again.",
        )
    return RetriableError(
        f"{dialect.title} cannot be reached, is busy, or closed the connection while {doing} ({name}).",
        where=where,
        next_step="Check that it runs and that its address is right, then run it again.",
    )
