"""What the copies need from a database: how it names, types and digests its data.

The CRM's own database computes a digest, which is compared only with earlier digests of the same database. So
two databases need not write a value in the same way.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError

# Names of refused things, for the text of an error.
LOGIN = "refuses the login or does not know the database"
RIGHT = "refuses a right"
UNPROVEN = "did not prove that it is the server that is meant"

# The type in our copy for values that are compared as JSON, whatever type the CRM's database has.
JSON = "jsonb"
# Digits of a decimal in our copy.
WIDE = 100
# Digits of a second in our copy.
_MICROSECONDS = 6
# Rows fetched at a time.
FETCHED = 5_000


@dataclass(frozen=True)
class RemoteColumn:
    """One column of a CRM table in another database.

    :param name: its name in the mapping, and so in our copy.
    :param type: its PostgreSQL type in our copy.
    :param declared: its type in its own database, for use in a cast.
    :param own: its name in its own database.
    :param needed: a new row needs a value for it; False if the database was not asked.
    :param fraction: for times, how many digits of a second it stores.
    :param letters: for texts, the character set that it is stored in, if the database has several.
    """

    name: str
    type: str
    declared: str
    own: str
    needed: bool = False
    fraction: int = _MICROSECONDS
    letters: str = ""

    @property
    def is_text(self) -> bool:
        """Return whether the column is a text in our copy."""
        return self.type == "text" or self.type.startswith("varchar")


@dataclass(frozen=True)
class RemoteRelation:
    """A CRM table or view as its own database describes it.

    :param identifier: identifies this table and no other in a statement.
    """

    identifier: str
    columns: Sequence[RemoteColumn]


class Dialect(ABC):
    """One kind of database.

    :cvar names: the names of SQLAlchemy's dialects that it covers.
    :cvar drivers: by dialect, the URL scheme to open, if people write another one.
    :cvar title: its common name.
    :cvar extra: the extra of this package that installs its driver, or the driver's package.
    :cvar version: raised by a release that reads or digests its rows differently, so that each copy is made
        anew.
    :cvar tried: whether tests run statements on it, and do not only compare their text.
    :cvar takes_back: whether a transaction can be rolled back.
    :cvar writes_at_once: whether one statement updates many rows, each to values of its own.
    :cvar empty_is_null: whether it stores an empty text as null.
    :cvar most_named: how many values one list of a statement may have.
    :cvar most_keys: how many keys one statement names to read their rows by an index; 0: it scans the table.
    :cvar whole_digits: up to how many digits a decimal without places is read as a 64-bit integer.
    :cvar is_file: whether the database is a file, which one process has open at a time.
    :cvar quote: the quote character of names.
    :cvar types: by its type in lower case, the type in our copy.
    :cvar of_a_row: codes of errors about the values of one row (:meth:`codes`).
    :cvar of_a_statement: codes of errors about a statement that the driver classifies otherwise.
    :cvar logins: codes of errors about a login or an unknown database.
    :cvar rights: codes of errors about a right.
    :cvar read_only: codes of a server, database or connection that takes no writes at all.
    """

    names: ClassVar[Sequence[str]]
    drivers: ClassVar[Mapping[str, str]] = {}
    title: ClassVar[str]
    extra: ClassVar[str]
    types: ClassVar[Mapping[str, str]]
    is_file: ClassVar[bool] = False
    quote: ClassVar[str] = '"'

    version: ClassVar[int] = 4
    tried: ClassVar[bool] = True
    takes_back: ClassVar[bool] = True
    writes_at_once: ClassVar[bool] = True
    empty_is_null: ClassVar[bool] = False
    most_named: ClassVar[int] = 15_000
    most_keys: ClassVar[int] = 0
    whole_digits: ClassVar[int] = 18

    of_a_row: ClassVar[AbstractSet[object]] = frozenset()
    of_a_statement: ClassVar[AbstractSet[object]] = frozenset()
    logins: ClassVar[AbstractSet[object]] = frozenset()
    rights: ClassVar[AbstractSet[object]] = frozenset()
    read_only: ClassVar[AbstractSet[object]] = frozenset()

    # The statement that asks for the present moment, with a zone or in UTC; empty: its clock is not asked.
    present: ClassVar[str] = ""
    # The end of a select that has only values.
    from_nothing: ClassVar[str] = ""

    # Every such database has this view of the SQL standard, each with further columns of its own.
    columns_query: ClassVar[str] = """
    select column_name as name, data_type as declared, character_maximum_length as length,
      numeric_precision as digits, numeric_scale as places
    from information_schema.columns where table_schema = :in_schema and table_name = :of_table
    order by ordinal_position
    """

    def quoted(self, *names: str) -> str:
        """Return names as an identifier of a statement in :func:`sqlalchemy.text`."""
        mark = self.quote
        joined = ".".join(mark + name.replace(mark, mark * 2) + mark for name in names)
        # A colon would start a parameter.
        return joined.replace(":", "\\:")

    def qualified(self, connection: sa.Connection, schema: str, table: str) -> str:
        """Return a table as an identifier that means no other table."""
        return self.quoted(schema, table)

    def same_name(self, written: str, names: Iterable[str]) -> str | None:
        """Return the name in the database that a name of ``sync.yaml`` means: the same letters."""
        return written if written in names else None

    def begin(self, connection: sa.Connection) -> None:  # noqa: B027 - most need nothing
        """Set up the session so that values are exchanged unchanged: the zone UTC, strict types."""

    def relation(self, connection: sa.Connection, schema: str, table: str) -> RemoteRelation:
        """Return a table or view with its columns in their order; without columns if it does not exist."""
        rows = self.column_rows(connection, schema, table)
        names = {(str(row.get("in_schema", schema)), str(row.get("of_table", table))) for row in rows}
        # Prefer the exact name if names with other letter case exist as well.
        schema, table = (schema, table) if (schema, table) in names else max(names, default=(schema, table))
        columns = [
            RemoteColumn(
                row["name"],
                self.type_of(row),
                self.declared_of(row),
                row["name"],
                bool(row.get("needed")),
                _MICROSECONDS if row.get("fraction") is None else int(row["fraction"]),
                str(row.get("letters") or ""),
            )
            for row in rows
            if (row.get("in_schema", schema), row.get("of_table", table)) == (schema, table)
        ]
        return RemoteRelation(self.qualified(connection, schema, table), columns)

    def column_rows(self, connection: sa.Connection, schema: str, table: str) -> list[dict[str, Any]]:
        """Return the rows of the database's catalog for the columns of a table."""
        return self.catalog_rows(connection, self.columns_query, {"in_schema": schema, "of_table": table})

    def catalog_rows(
        self, connection: sa.Connection, query: str, values: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Return the rows of a query of the catalog; some databases return its names in upper case."""
        found = connection.execute(self.statement(query, values), values)
        return [{str(key).lower(): value for key, value in row.items()} for row in found.mappings()]

    def declared_of(self, row: Mapping[str, Any]) -> str:
        """Return a column's type as a cast of its own database takes it."""
        return str(row["declared"])

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return the type of a column in our copy; a column of an unknown type is read as text."""
        known = self.types.get(str(row["declared"]).lower().partition("(")[0].strip(), "text")
        if known == "numeric" and row["digits"] is not None:
            digits, places = int(row["digits"]), int(row["places"] or 0)
            if places == 0 and digits <= self.whole_digits:
                return "bigint"
            # Wider than in the CRM: the CRM refuses a value of Enerflo that is too large; our copy must not
            # stop on it.
            return f"numeric({max(digits, WIDE)},{places})" if places >= 0 else "numeric"
        if known == "varchar" and row["length"] is not None and 0 < int(row["length"]) <= 10_485_760:
            return f"varchar({int(row['length'])})"
        return "text" if known == "varchar" else known

    def as_number(self, column: RemoteColumn) -> RemoteColumn:
        """Return a column that the mapping compares as a number, with its type in our copy."""
        return column

    def selected(self, column: RemoteColumn) -> str:
        """Return the expression that reads a column, as a value that psycopg writes in the copy's type."""
        return self.quoted(column.own)

    def is_taken(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether a file cannot be opened because another process has it open."""
        return False

    def codes(self, error: sa.exc.DBAPIError) -> AbstractSet[object]:
        """Return the codes of an error in the database or its driver: number, SQLSTATE, or kind."""
        return frozenset()

    def refusal(self, error: sa.exc.DBAPIError) -> str | None:
        """Return what is refused if an error concerns login, right or certificate; None otherwise."""
        codes = self.codes(error)
        return RIGHT if codes & self.rights else LOGIN if codes & self.logins else None

    def only_reads(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the database takes no writes at all, such as a replica."""
        return bool(self.codes(error) & self.read_only)

    def refuses_a_statement(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether an error concerns the statement, such as an unknown name or a failed conversion."""
        is_known = bool(self.codes(error) & self.of_a_statement)
        return is_known or isinstance(
            error, sa.exc.ProgrammingError | sa.exc.NotSupportedError | sa.exc.DataError
        )

    def refuses_a_row(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether an error concerns the values of one row, not the statement or the connection."""
        is_known = bool(self.codes(error) & self.of_a_row)
        return is_known or isinstance(error, sa.exc.IntegrityError | sa.exc.DataError)

    @abstractmethod
    def as_text(self, column: RemoteColumn) -> str:
        """Return an expression of a column's value as text, different for different values."""

    @abstractmethod
    def digest(self, texts: Sequence[str]) -> str:
        """Return the expression of a digest of texts, each possibly null: an integer of at most 60 bits."""

    def row_digest(self, columns: Sequence[RemoteColumn], more: Sequence[str]) -> str:
        """Return the expression of a row's digest: an integer of at most 60 bits for each content.

        :param more: further texts to include, none of them null.
        """
        return self.digest([*map(self.as_text, columns), *more])

    def unread(self, columns: Sequence[RemoteColumn]) -> str | None:
        """Return the expression of the names of columns that have a value which our copy cannot hold.

        The names have ``|`` between them; null if there is none. None if our copy can hold every value.
        """
        return None

    def whole(self, column: RemoteColumn) -> str:
        """Return the expression of a column of integers as an integer."""
        return self.quoted(column.own)

    def length(self, text: str) -> str:
        """Return the number of letters of a text, as text or as what ``||`` makes text of."""
        return f"length({text})"

    def joined(self, texts: Sequence[str]) -> str:
        """Return the expression of one text from texts, each possibly null and with its length before it.

        The lengths ensure that different texts never give the same result.
        """
        return " || '|' || ".join(f"coalesce({self.length(text)} || '.' || {text}, '-')" for text in texts)

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return a parameter in a select of values, where the database cannot infer its type."""
        return parameter

    def assigned(self, parameter: str, column: RemoteColumn) -> str:
        """Return a parameter that a column is set to."""
        return parameter

    def compared(self, parameter: str, column: RemoteColumn) -> str:
        """Return a parameter that a column is compared with."""
        return parameter

    def statement(self, text: str, parameters: Mapping[str, Any]) -> sa.TextClause:
        """Return a statement with the types of its parameters, where their values do not tell them."""
        return sa.text(text)

    def total(self, number: str) -> str:
        """Return the exact sum of a whole number over a group, as text."""
        return f"cast(sum({number}) as varchar)"

    def remainder(self, number: str, divisor: int) -> str:
        """Return the remainder of a division of whole numbers."""
        return f"mod({number}, {divisor})"

    def rows(
        self, connection: sa.Connection, query: str, values: Mapping[str, Any]
    ) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield the rows of a query, a part at a time, without holding all of them."""
        streamed = self.statement(query, values).execution_options(
            stream_results=True, max_row_buffer=FETCHED
        )
        with connection.execute(streamed, values) as result:
            yield from result.partitions(FETCHED)

    def conversion(self, column: RemoteColumn) -> Callable[[Any], Any] | None:
        """Return the conversion of a read value that is not null for psycopg; None if it needs none.

        Most columns need none: a call for each value would double the time of a copy.
        """
        return _as_json if column.type == JSON else None

    def parameter(self, column: RemoteColumn, value: Any) -> Any:
        """Return a value of the copy for the database's own driver.

        A time is cut to the digits that the column stores, since some databases would round it up.
        """
        if isinstance(value, datetime) and column.fraction < _MICROSECONDS:
            return value.replace(
                microsecond=value.microsecond - value.microsecond % 10 ** (_MICROSECONDS - column.fraction)
            )
        return json.dumps(value) if column.type == JSON and value is not None else value


def _as_json(value: Any) -> str:
    """Return a value as JSON; a text that is not JSON becomes a JSON text."""
    text = value if isinstance(value, str) else json.dumps(value)
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(text)
    return text


def driver_missing(dialect: Dialect, error: ImportError, where: str) -> ConfigurationError:
    """Return the error for a database whose driver is not installed."""
    package = f'"enerflo-sync[{dialect.extra}]"' if dialect.tried else dialect.extra
    return ConfigurationError(
        f"the driver of {dialect.title} is not installed ({error.name or error}).",
        where=where,
        next_step=f"Install it: pip install {package}.",
    )
