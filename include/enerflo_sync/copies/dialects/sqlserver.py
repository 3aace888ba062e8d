"""SQL Server and Azure SQL, by pymssql or an ODBC driver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import RemoteColumn
from enerflo_sync.copies.dialects.untried import UntriedDialect, sized

_TEXTS = ("char", "varchar", "nchar", "nvarchar")


class SQLServer(UntriedDialect):
    """SQL Server 2016 and later, and Azure SQL.

    Facts: learn.microsoft.com/sql/t-sql: functions/cast-and-convert-transact-sql (styles; a cast to nvarchar
    alone is one to 30 letters), functions/hashbytes-transact-sql, functions/len-transact-sql (it leaves
    trailing spaces out), data-types/datetime-transact-sql (three digits of a second).
    """

    names = ("mssql",)
    drivers = {"mssql": "mssql+pymssql"}  # noqa: RUF012 - a constant
    title = "SQL Server"
    extra = "pymssql"
    # More values in one list exhaust the server.
    most_named = 2_000
    words = ("0", "1")
    # Null where none may be, a key or a constraint, too long, out of range, of the wrong form, a trigger.
    of_a_row = frozenset({220, 232, 241, 242, 245, 515, 547, 2601, 2627, 2628, 3609, 8114, 8115, 8152, 50000})
    logins = frozenset({4060, 18450, 18451, 18452, 18456, 18486, 18487, 18488})
    rights = frozenset({229, 230, 262, 300, 916, 921})
    read_only = frozenset({3906})
    types = {  # noqa: RUF012 - a constant
        **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "bigint"),
        **dict.fromkeys(("decimal", "numeric", "money", "smallmoney"), "numeric"),
        **dict.fromkeys(("float", "real"), "double precision"),
        **dict.fromkeys(_TEXTS, "varchar"),
        "bit": "boolean",
        "date": "date",
        **dict.fromkeys(("datetime", "datetime2", "smalldatetime"), "timestamp"),
        "datetimeoffset": "timestamptz",
        "uniqueidentifier": "uuid",
    }

    def declared_of(self, row: Mapping[str, Any]) -> str:
        """Return the type with its digits, and a text without a length, which would cut it."""
        declared = str(row["declared"]).lower()
        if declared in (*_TEXTS, "text", "ntext", "xml"):
            return "nvarchar(max)"
        return sized(row, declared) if declared in ("decimal", "numeric") else declared

    def selected(self, column: RemoteColumn) -> str:
        """Return the value as text, without zero bytes, which only a binary collation finds."""
        text = self.as_text(column)
        if column.declared != "nvarchar(max)":
            return text
        return f"replace({text} collate Latin1_General_BIN2, nchar(0), N'')"

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as text, by the style that keeps all of it."""
        name, kind = self.quoted(column.own), column.declared
        style = {
            **dict.fromkeys(("datetime", "datetime2", "smalldatetime"), 126),
            "datetimeoffset": 127,
            **dict.fromkeys(("float", "real"), 3),
            **dict.fromkeys(("money", "smallmoney", "binary", "varbinary", "timestamp"), 2),
            "date": 23,
        }.get(kind)
        return f"convert(nvarchar(max), {name}{'' if style is None else f', {style}'})"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the sha-256 over the texts, each with its length in front."""
        parts = " + N'|' + ".join(
            f"coalesce(convert(nvarchar(20), datalength({text})) + N'.' + {text}, N'-')" for text in texts
        )
        hashed = f"hashbytes('SHA2_256', {parts})"
        return f"(convert(bigint, substring({hashed}, 1, 8)) & 1152921504606846975)"

    def total(self, number: str) -> str:
        """Return the exact sum, which would not fit into 64 bits."""
        return f"convert(varchar(40), sum(convert(decimal(38,0), {number})))"

    def remainder(self, number: str, divisor: int) -> str:
        """Return the remainder of a division of whole numbers."""
        return f"({number} % {divisor})"

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type; the old types of times refuse a long fraction."""
        if column.declared in ("datetime", "smalldatetime"):
            return f"cast(cast({parameter} as datetime2(7)) as {column.declared})"
        return super().typed(parameter, column)

    def moment(self, value: datetime) -> str:
        """Return a time in the form that no language setting reads in another way."""
        return value.isoformat("T")

    def codes(self, error: sa.exc.DBAPIError) -> set[int]:
        """Return the numbers of an error: pymssql's argument, or in an ODBC driver's text as ``(229)``."""
        arguments = getattr(error.orig, "args", ())
        flat = [
            one
            for argument in arguments
            for one in (argument if isinstance(argument, tuple) else (argument,))
        ]
        numbers = {one for one in flat if isinstance(one, int)}
        for text in (one for one in flat if isinstance(one, str)):
            numbers |= {
                int(part.split(")")[0]) for part in text.split("(")[1:] if part.split(")")[0].isdigit()
            }
        return numbers
