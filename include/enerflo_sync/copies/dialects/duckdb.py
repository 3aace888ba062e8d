"""DuckDB, by its own driver behind duckdb-engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import JSON, Dialect, RemoteColumn

_OF_64_BITS = ("bigint", "double precision", "boolean", "date", "timestamp", "timestamptz")
_DIGITS_OF_64_BITS = 18
_DECIMAL = re.compile(r"decimal\((\d+),", re.IGNORECASE)


class DuckDB(Dialect):
    """DuckDB: a file that one process writes at a time."""

    names = ("duckdb",)
    title = "DuckDB"
    extra = "duckdb"
    is_file = True
    types = {  # noqa: RUF012 - a constant
        **dict.fromkeys(("tinyint", "smallint", "integer", "bigint"), "bigint"),
        **dict.fromkeys(("utinyint", "usmallint", "uinteger"), "bigint"),
        **dict.fromkeys(("ubigint", "hugeint", "uhugeint"), "numeric"),
        "decimal": "numeric",
        **dict.fromkeys(("float", "double"), "double precision"),
        "varchar": "text",
        "boolean": "boolean",
        "date": "date",
        **dict.fromkeys(("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"), "timestamp"),
        "timestamp with time zone": "timestamptz",
        "uuid": "uuid",
    }

    columns_query = Dialect.columns_query.replace(
        "as places", "as places, is_nullable = 'NO' and column_default is null as needed"
    ).replace("where ", "where table_catalog = current_database() and ")

    def qualified(self, connection: sa.Connection, schema: str, table: str) -> str:
        """Return the table with its database: in crm.duckdb, crm alone could be database or schema."""
        database = connection.execute(sa.text("select current_database()")).scalar_one()
        return self.quoted(database, schema, table)

    def begin(self, connection: sa.Connection) -> None:
        """Read and write moments in UTC."""
        connection.exec_driver_sql("set timezone = 'UTC'")

    def selected(self, column: RemoteColumn) -> str:
        """Return the value as text: Python has no time without end, and PostgreSQL no zero byte in a text."""
        text = self.as_text(column)
        return f"replace({text}, chr(0), '')" if column.type in ("text", JSON) else text

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as DuckDB writes it."""
        return f"cast({self.quoted(column.own)} as varchar)"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the md5 over the texts, each with its length in front."""
        return f"cast(md5_number_lower({self.joined(texts)}) & 1152921504606846975 as bigint)"

    def row_digest(self, columns: Sequence[RemoteColumn], more: Sequence[str]) -> str:
        """Return 60 bits of DuckDB's own hash, which takes a tenth of the time of an md5 of texts.

        The hash is the same for values that DuckDB treats as equal although they differ, such as texts of a
        collation, parts of an interval, and wide numbers; for these the bytes of their text are hashed.
        Another version of DuckDB may hash differently; then every row is read once more.
        """
        values = [
            self.quoted(one.own) if _is_hashed_as_such(one) else f"encode({self.as_text(one)})"
            for one in columns
        ]
        return f"cast(hash({', '.join([*values, *more])}) >> 4 as bigint)"

    def is_taken(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether another process holds the file's lock."""
        return "Could not set lock on file" in str(error.orig)

    def only_reads(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the file was opened with ``access_mode=read_only``."""
        return "attached in read-only mode" in str(error.orig)

    def refuses_a_row(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether a constraint or a conversion refused the values."""
        kind = type(error.orig).__name__
        return super().refuses_a_row(error) or kind in {"ConstraintException", "ConversionException"}

    def parameter(self, column: RemoteColumn, value: Any) -> Any:
        """Return the value; an id is given as text."""
        given = super().parameter(column, value)
        return str(given) if column.type == "uuid" and given is not None else given


def _is_hashed_as_such(column: RemoteColumn) -> bool:
    """Return whether two values of a column have the same hash only if they are the same."""
    decimal = _DECIMAL.match(column.declared)
    return column.type in _OF_64_BITS or (decimal is not None and int(decimal[1]) <= _DIGITS_OF_64_BITS)
