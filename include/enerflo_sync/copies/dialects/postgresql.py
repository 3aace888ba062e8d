"""A PostgreSQL other than the warehouse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import LOGIN, RIGHT, UNPROVEN, Dialect, RemoteColumn
from enerflo_sync.warehouse.engine import READS_ONLY
from enerflo_sync.warehouse.refused import crm_refuses_a_row, finds_another_server

_MOST_PLACES = 1000
# Words of a server that lets nobody in by this login: a connection that was not made has no SQLSTATE.
_NOT_LET_IN = (
    *("authentication failed", "does not exist", "no pg_hba.conf entry"),
    *("is not permitted to log in", "permission denied for database"),
)
# Types to which every text is cast without an error, and the number of bytes that they keep.
_CUTTING = {'pg_catalog."char"': 1, "pg_catalog.name": 63}


class PostgreSQL(Dialect):
    """PostgreSQL, by psycopg."""

    names = ("postgresql",)
    drivers = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}  # noqa: RUF012 - a constant
    title = "PostgreSQL"
    extra = "postgresql"
    # A decimal can be NaN, which no integer type can store.
    whole_digits = 0
    present = "/* enerflo-sync doctor: the time there */ select clock_timestamp()"
    types = {  # noqa: RUF012 - a constant
        **dict.fromkeys(("smallint", "integer", "bigint"), "bigint"),
        "numeric": "numeric",
        **dict.fromkeys(("real", "double precision"), "double precision"),
        "character varying": "varchar",
        "boolean": "boolean",
        "date": "date",
        "timestamp without time zone": "timestamp",
        "timestamp with time zone": "timestamptz",
        "uuid": "uuid",
        **dict.fromkeys(("json", "jsonb"), "jsonb"),
    }

    # The standard's names are unusable in a cast: `character` keeps one letter and `USER-DEFINED` is no type.
    columns_query = """
    select column_name as name, data_type as kind, quote_ident(udt_schema) || '.' || quote_ident(udt_name)
      as declared, character_maximum_length as length, numeric_precision as digits, numeric_scale as places,
      datetime_precision as fraction,
      is_nullable = 'NO' and column_default is null and is_identity = 'NO' and is_generated = 'NEVER'
      as needed
    from information_schema.columns where table_schema = :in_schema and table_name = :of_table
    order by ordinal_position
    """

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return the type that a column gets in our copy."""
        # The catalog stores a negative scale (digits before the point) as a very large number.
        unbound = {"digits": None} if (row["places"] or 0) > _MOST_PLACES else {}
        return super().type_of({**row, **unbound, "declared": row["kind"]})

    def begin(self, connection: sa.Connection) -> None:
        """Write times and numbers in one form, whatever the role's settings."""
        connection.exec_driver_sql(
            "select set_config('timezone', 'UTC', false), set_config('datestyle', 'ISO', false),"
            " set_config('extra_float_digits', '1', false)"
        )

    def selected(self, column: RemoteColumn) -> str:
        """Return the value as text: Python has no time without end."""
        return self.as_text(column)

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as PostgreSQL writes it."""
        return f"cast({self.quoted(column.own)} as text)"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the md5 over the texts, each with its length in front."""
        return f"cast(cast('x' || left(md5({self.joined(texts)}), 15) as bit(60)) as bigint)"

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type; its length is checked by the column itself.

        A text that the type would cut silently is cast to a number instead, so that the server refuses it.
        """
        typed = f"cast({parameter} as {column.declared})"
        if (most := _CUTTING.get(column.declared)) is None:
            return typed
        text = f"cast({parameter} as text)"
        refused = f"cast(cast(cast({text} || ' is cut' as integer) as text) as {column.declared})"
        return f"case when coalesce(octet_length({text}), 0) <= {most} then {typed} else {refused} end"

    def assigned(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter that a column is set to."""
        return self.typed(parameter, column) if column.declared in _CUTTING else parameter

    def refuses_a_row(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether PostgreSQL refused the values of a row."""
        return error.orig is not None and crm_refuses_a_row(error.orig)  # type: ignore[arg-type]

    def only_reads(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the server is a standby, or the connection may only read."""
        return getattr(error.orig, "sqlstate", None) == READS_ONLY

    def refusal(self, error: sa.exc.DBAPIError) -> str | None:
        """Return what is refused, by SQLSTATE; a refused connection has only the server's message."""
        if finds_another_server(error.orig):
            return UNPROVEN
        state = getattr(error.orig, "sqlstate", None) or ""
        words = "" if state else str(error.orig)
        if state.startswith(("28", "3D")) or any(one in words for one in _NOT_LET_IN):
            return LOGIN
        return RIGHT if state == "42501" else None
