"""MySQL and MariaDB, by PyMySQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import Dialect, RemoteColumn

# A trigger that refuses a row (SIGNAL), a constraint of a row, a value out of range or of the wrong form.
_OF_A_ROW = {1048, 1062, 1264, 1265, 1292, 1364, 1366, 1406, 1451, 1452, 1644, 3819, 4025}


class MySQL(Dialect):
    """MySQL and MariaDB: times of type timestamp are moments, those of type datetime have no zone."""

    names = ("mysql", "mariadb")
    drivers = {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}  # noqa: RUF012 - a constant
    title = "MySQL and MariaDB"
    extra = "mysql"
    quote = "`"
    from_nothing = " from dual"
    types = {  # noqa: RUF012 - a constant
        **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year"), "bigint"),
        "decimal": "numeric",
        "numeric": "numeric",
        **dict.fromkeys(("float", "double"), "double precision"),
        **dict.fromkeys(("varchar", "char"), "varchar"),
        "date": "date",
        "datetime": "timestamp",
        "timestamp": "timestamptz",
        "uuid": "uuid",
    }
    columns_query = """
    select column_name as name, data_type as declared, column_type as whole,
      character_maximum_length as length, numeric_precision as digits, numeric_scale as places
    from information_schema.columns where table_schema = :schema and table_name = :table
    order by ordinal_position
    """

    def begin(self, connection: sa.Connection) -> None:
        """Read and write in UTC; refuse values that do not fit instead of changing them."""
        connection.exec_driver_sql(
            "set time_zone = '+00:00', sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES')"
        )

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return the type in our copy: tinyint(1) is MySQL's boolean, and an unsigned bigint is a numeric."""
        whole = str(row["whole"]).lower()
        if whole.startswith("tinyint(1)"):
            return "boolean"
        if whole.startswith("bigint") and "unsigned" in whole:
            return "numeric(20,0)"
        return super().type_of(row)

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as utf8mb4, in which every text of the table can be written."""
        return f"convert({self.quoted(column.name)} using utf8mb4)"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the md5 over the texts, each with its length in front."""
        parts = ", ".join(f"coalesce(concat(char_length({text}), '.', {text}), '-')" for text in texts)
        return f"cast(conv(left(md5(concat_ws('|', {parts})), 15), 16, 10) as unsigned)"

    def total(self, number: str) -> str:
        """Return the exact sum of a whole number over a group, as text."""
        return f"cast(sum({number}) as char)"

    def value(self, column: RemoteColumn, value: Any) -> Any:
        """Return 0 and 1 as booleans, a time as one in UTC; a date of zeros is none."""
        if column.type == "boolean" and value is not None:
            return bool(value)
        if column.type in ("date", "timestamp", "timestamptz") and isinstance(value, str):
            return None
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        return super().value(column, value)

    def refuses_a_row(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the number of an error is one about a row's values."""
        arguments: tuple[object, ...] = getattr(error.orig, "args", ())
        return len(arguments) > 0 and arguments[0] in _OF_A_ROW
