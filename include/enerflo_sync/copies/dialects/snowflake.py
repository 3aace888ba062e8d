"""Snowflake, by snowflake-sqlalchemy and Snowflake's own driver."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import JSON, Dialect, RemoteColumn

# docs.snowflake.com: sql-reference/identifiers-syntax, parameters, functions/md5_number_lower64.
_UTC = """
alter session set timezone = 'UTC', date_output_format = 'YYYY-MM-DD', time_output_format = 'HH24:MI:SS.FF9',
  timestamp_ntz_output_format = 'YYYY-MM-DD HH24:MI:SS.FF9',
  timestamp_ltz_output_format = 'YYYY-MM-DD HH24:MI:SS.FF9TZH:TZM',
  timestamp_tz_output_format = 'YYYY-MM-DD HH24:MI:SS.FF9TZH:TZM'
"""
_HALF_STRUCTURED = ("variant", "object", "array", "map")


class Snowflake(Dialect):
    """Snowflake: names are in upper case unless they are quoted, and no key is unique."""

    names = ("snowflake",)
    title = "Snowflake"
    extra = "snowflake"
    types = {  # noqa: RUF012 - a constant
        **dict.fromkeys(("number", "decimal", "numeric"), "numeric"),
        **dict.fromkeys(("float", "double", "real"), "double precision"),
        **dict.fromkeys(("text", "varchar", "char", "string"), "varchar"),
        "boolean": "boolean",
        "date": "date",
        "timestamp_ntz": "timestamp",
        **dict.fromkeys(("timestamp_ltz", "timestamp_tz"), "timestamptz"),
        **dict.fromkeys(_HALF_STRUCTURED, JSON),
    }
    # Its type of whole numbers is number(38,0).
    whole_digits = 38
    # Incorrect user name, password or token; a user that is locked; an account that is not known.
    logins = frozenset({"250001", "390100", "390101", "390102", "390144", "390189"})
    rights = frozenset({"42501"})
    # A value out of range, of the wrong form, too long, or null where none may be.
    of_a_row = frozenset({"22", "23"})
    # One query, for Snowflake answers any about its catalog slowly.
    columns_query = """
    select column_name as name, data_type as declared, character_maximum_length as length,
      numeric_precision as digits, numeric_scale as places, table_schema as in_schema, table_name as of_table
    from information_schema.columns
    where table_schema in (:in_schema, upper(:in_schema)) and table_name in (:of_table, upper(:of_table))
    order by ordinal_position
    """

    def same_name(self, written: str, names: Iterable[str]) -> str | None:
        """Return the name as it is written, or in upper case, as Snowflake keeps one without quotes."""
        return next((one for one in (written, written.upper()) if one in names), None)

    def begin(self, connection: sa.Connection) -> None:
        """Read and write moments in UTC, and each value as text in one form."""
        connection.exec_driver_sql(_UTC)

    def declared_of(self, row: Mapping[str, Any]) -> str:
        """Return the type; a number without its digits would be a whole one."""
        if row["digits"] is not None and str(row["declared"]).lower() == "number":
            return f"number({int(row['digits'])},{int(row['places'] or 0)})"
        return str(row["declared"])

    def selected(self, column: RemoteColumn) -> str:
        """Return a float as it is; else the value as text, and that without zero bytes."""
        if column.type == "double precision":
            return self.quoted(column.own)
        text = self.as_text(column)
        return f"replace({text}, chr(0), '')" if column.is_text else text

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as the session's formats write it."""
        name, kind = self.quoted(column.own), column.declared.lower()
        if column.type == "double precision":
            # As text it has fewer digits than it holds.
            return f"cast(hash({name}) as varchar)"
        if kind in _HALF_STRUCTURED:
            return f"to_json({name})"
        if kind == "binary":
            return f"hex_encode({name})"
        if kind in ("geography", "geometry"):
            return f"st_astext({name})"
        return f"cast({name} as varchar)"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the md5 over the texts, each with its length in front."""
        return f"cast(mod(md5_number_lower64({self.joined(texts)}), 1152921504606846976) as number(38,0))"

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type."""
        if column.declared.lower() in _HALF_STRUCTURED:
            return f"parse_json({parameter})"
        return f"cast({parameter} as {column.declared})"

    def assigned(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter; a text would become a JSON text."""
        is_json = column.declared.lower() in _HALF_STRUCTURED
        return f"parse_json({parameter})" if is_json else parameter

    def codes(self, error: sa.exc.DBAPIError) -> set[str]:
        """Return Snowflake's number, the SQLSTATE, and the SQLSTATE's class."""
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return {str(getattr(error.orig, "errno", None) or ""), state, state[:2]}
