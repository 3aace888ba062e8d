"""A PostgreSQL other than the warehouse."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import Dialect, RemoteColumn
from enerflo_sync.warehouse.refused import refuses_a_row


class PostgreSQL(Dialect):
    """PostgreSQL, by psycopg."""

    names = ("postgresql",)
    drivers = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}  # noqa: RUF012 - a constant
    title = "PostgreSQL"
    extra = "postgresql"
    types = {  # noqa: RUF012 - a constant
        **dict.fromkeys(("smallint", "integer", "bigint"), "bigint"),
        "numeric": "numeric",
        **dict.fromkeys(("real", "double precision"), "double precision"),
        **dict.fromkeys(("character varying", "character"), "varchar"),
        "boolean": "boolean",
        "date": "date",
        "timestamp without time zone": "timestamp",
        "timestamp with time zone": "timestamptz",
        "uuid": "uuid",
        **dict.fromkeys(("json", "jsonb"), "jsonb"),
    }

    def begin(self, connection: sa.Connection) -> None:
        """Write times and numbers in one way, whatever the role's own settings."""
        connection.exec_driver_sql(
            "select set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO', false),"
            " set_config('extra_float_digits', '1', false)"
        )

    def selected(self, column: RemoteColumn) -> str:
        """Return the column; what has a type of the database's own is read as text."""
        name = self.quoted(column.name)
        return name if column.type not in ("text", "jsonb") else f"cast({name} as text)"

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as PostgreSQL writes it."""
        return f"cast({self.quoted(column.name)} as text)"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the md5 over the texts, each with its length in front."""
        parts = " || '|' || ".join(f"coalesce(length({text}) || '.' || {text}, '-')" for text in texts)
        return f"cast(cast('x' || left(md5({parts}), 15) as bit(60)) as bigint)"

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type; a length is left to the column, which refuses."""
        return f"cast({parameter} as {column.declared})"

    def refuses_a_row(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether PostgreSQL refused the values of a row."""
        return error.orig is not None and refuses_a_row(error.orig)  # type: ignore[arg-type]
