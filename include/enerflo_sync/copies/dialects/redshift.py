"""Amazon Redshift, by sqlalchemy-redshift and redshift_connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import JSON, RemoteColumn
from enerflo_sync.copies.dialects.untried import UntriedDialect, sized

_TEXTS = ("character varying", "varchar", "character", "char", "text", "bpchar", "nvarchar", "nchar")
# The longest; a cast to varchar alone is one to 256 bytes.
_TEXT = "varchar(65535)"


class Redshift(UntriedDialect):
    """Redshift: a PostgreSQL of old in its SQL, whose keys are not unique and whose names are lower case.

    Facts: docs.aws.amazon.com/redshift/latest/dg: r_SVV_COLUMNS, r_STRTOL, r_MD5, r_CAST_function (a boolean
    has no cast to text), r_Character_types (256 bytes), r_SUM, JSON_SERIALIZE, c_serial_isolation.
    """

    names = ("redshift",)
    drivers = {"redshift": "redshift+redshift_connector"}  # noqa: RUF012 - a constant
    title = "Redshift"
    extra = "sqlalchemy-redshift redshift_connector"
    types = {  # noqa: RUF012 - a constant
        **dict.fromkeys(("smallint", "integer", "bigint"), "bigint"),
        **dict.fromkeys(("numeric", "decimal"), "numeric"),
        **dict.fromkeys(("real", "double precision"), "double precision"),
        **dict.fromkeys(_TEXTS, "varchar"),
        "boolean": "boolean",
        "date": "date",
        "timestamp without time zone": "timestamp",
        "timestamp with time zone": "timestamptz",
        "super": JSON,
    }
    # By the class of the SQLSTATE: a value is too long, out of range, of the wrong form, or null.
    of_a_row = frozenset({"22", "23"})
    logins = frozenset({"28", "3D"})
    rights = frozenset({"42501"})
    read_only = frozenset({"25006"})
    columns_query = """
    select column_name as name, data_type as declared, character_maximum_length as length,
      numeric_precision as digits, numeric_scale as places
    from svv_columns where table_schema = lower(:in_schema) and table_name = lower(:of_table)
    order by ordinal_position
    """

    def qualified(self, connection: sa.Connection, schema: str, table: str) -> str:
        """Return the table; names are kept in lower case, quoted or not."""
        return self.quoted(schema.lower(), table.lower())

    def begin(self, connection: sa.Connection) -> None:
        """Write times, numbers and moments in one way, whatever the role's own settings."""
        connection.exec_driver_sql("set timezone to 'UTC'")
        connection.exec_driver_sql("set datestyle to 'ISO'")
        connection.exec_driver_sql("set extra_float_digits to 2")

    def declared_of(self, row: Mapping[str, Any]) -> str:
        """Return the type with its digits, and a text in its longest form."""
        declared = str(row["declared"]).lower()
        if declared in _TEXTS:
            return _TEXT
        return sized(row, declared) if self.types.get(declared) == "numeric" else declared

    def selected(self, column: RemoteColumn) -> str:
        """Return the value as text: Python has no time without end."""
        return self.as_text(column)

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as Redshift writes it."""
        name = self.quoted(column.own)
        if column.type == "boolean":
            return f"case when {name} then 'true' when not {name} then 'false' end"
        if column.type == JSON:
            return f"json_serialize({name})"
        return f"cast({name} as {_TEXT})"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the md5 over each text's own: together they might be too long for a text."""
        parts = " || ".join(f"coalesce(md5({text}), '-')" for text in texts)
        return f"strtol(left(md5({parts}), 15), 16)"

    def total(self, number: str) -> str:
        """Return the exact sum of a whole number over a group, as text."""
        return f"cast(sum(cast({number} as numeric(38,0))) as varchar(64))"

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type."""
        return f"json_parse({parameter})" if column.type == JSON else super().typed(parameter, column)

    def codes(self, error: sa.exc.DBAPIError) -> set[str]:
        """Return the SQLSTATE and its class, as redshift_connector (C) or psycopg2 (pgcode) has it."""
        told = next((one for one in getattr(error.orig, "args", ()) if isinstance(one, dict)), {})
        state = str(told.get("C") or getattr(error.orig, "pgcode", None) or "")
        return {state, state[:2]}
