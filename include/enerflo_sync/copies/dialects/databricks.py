"""Databricks SQL, by databricks-sqlalchemy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import JSON, RemoteColumn
from enerflo_sync.copies.dialects.untried import Lakehouse

_NESTED = ("array", "map", "struct", "variant")


class Databricks(Lakehouse):
    """Databricks SQL with Unity Catalog.

    Facts: docs.databricks.com/sql/language-manual: functions/md5, functions/conv, parameters/timezone,
    parameters/ansi_mode, information-schema/columns, delta-update.
    """

    names = ("databricks",)
    title = "Databricks"
    extra = "databricks-sqlalchemy"
    of_a_row = frozenset({"CAST_INVALID_INPUT", "CONSTRAINT", "OVERFLOW", "OUT_OF_RANGE"})
    logins = frozenset({"401", "Invalid access token"})
    rights = frozenset({"PERMISSION_DENIED", "INSUFFICIENT_PERMISSIONS"})
    types = {  # noqa: RUF012 - a constant
        **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "bigint"),
        "decimal": "numeric",
        **dict.fromkeys(("float", "double"), "double precision"),
        **dict.fromkeys(("string", "varchar", "char"), "text"),
        "boolean": "boolean",
        "date": "date",
        "timestamp_ntz": "timestamp",
        "timestamp": "timestamptz",
        **dict.fromkeys(_NESTED, JSON),
    }
    columns_query = """
    select column_name as name, full_data_type as declared, character_maximum_length as length,
      numeric_precision as digits, numeric_scale as places
    from information_schema.columns where table_schema = lower(:in_schema) and table_name = lower(:of_table)
    order by ordinal_position
    """

    def begin(self, connection: sa.Connection) -> None:
        """Read and write moments in UTC; refuse values that do not fit instead of changing them."""
        connection.exec_driver_sql("set time zone 'UTC'")
        connection.exec_driver_sql("set ansi_mode = true")

    def declared_of(self, row: Mapping[str, Any]) -> str:
        """Return the type; a text without a length, which would cut it."""
        declared = str(row["declared"]).lower()
        return "string" if declared.startswith(("varchar", "char")) else declared

    def selected(self, column: RemoteColumn) -> str:
        """Return the value as text: a moment with its zone, a text without zero bytes."""
        text = self.as_text(column)
        if column.type == "timestamptz":
            return f"{text} || '+00'"
        return f"replace({text}, char(0), '')" if column.type in ("text", JSON) else text

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as Databricks writes it."""
        name = self.quoted(column.own)
        if column.type == JSON:
            return f"to_json({name})"
        if column.declared == "binary":
            return f"hex({name})"
        return name if column.declared == "string" else f"cast({name} as string)"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the md5 over the texts, each with its length in front."""
        return f"cast(conv(left(md5({self.joined(texts)}), 15), 16, 10) as bigint)"

    def total(self, number: str) -> str:
        """Return the exact sum, which would not fit into 64 bits."""
        return f"cast(sum(cast({number} as decimal(38,0))) as string)"

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type."""
        if column.declared == "variant":
            return f"parse_json({parameter})"
        if column.type == JSON:
            return f"from_json({parameter}, '{column.declared}')".replace(":", "\\:")
        return super().typed(parameter, column)

    def codes(self, error: sa.exc.DBAPIError) -> set[str]:
        """Return the known error classes, or parts of them, that are in the driver's text."""
        text = str(error.orig)
        return {str(one) for one in self.of_a_row | self.logins | self.rights if str(one) in text}
