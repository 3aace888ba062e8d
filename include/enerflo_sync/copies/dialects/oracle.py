"""Oracle, by python-oracledb."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import JSON, RemoteColumn
from enerflo_sync.copies.dialects.untried import UntriedDialect, sized
from enerflo_sync.errors import ConfigurationError

_TEXTS = ("varchar2", "nvarchar2", "char", "nchar")
_LONG = ("clob", "nclob", "long", "blob", "bfile", "long raw")
# Null where none may be, a key, a check, a parent or child, too long, out of range, of the wrong form.
_OF_A_ROW = {1, 1400, 1407, 1438, 1722, 1830, 1839, 1840, 1843, 1847, 1858, 1861, 2290, 2291, 2292, 12899}
# The numbers that a trigger may choose from.
_OF_A_TRIGGER = range(20_000, 21_000)

_FORMATS = """
alter session set time_zone = 'UTC' nls_date_format = 'YYYY-MM-DD HH24:MI:SS'
  nls_timestamp_format = 'YYYY-MM-DD HH24:MI:SS.FF9'
  nls_timestamp_tz_format = 'YYYY-MM-DD HH24:MI:SS.FF9TZH:TZM' nls_numeric_characters = '.,'
"""


class Oracle(UntriedDialect):
    """Oracle 12c and later: names are in upper case unless quoted, a date has a time, an empty text is null.

    Facts: docs.oracle.com/en/database/oracle/oracle-database/19/sqlrf: STANDARD_HASH, Nulls, Data-Types,
    Format-Models (X), Expression-Lists (1000 values).
    """

    names = ("oracle",)
    drivers = {"oracle": "oracle+oracledb"}  # noqa: RUF012 - a constant
    title = "Oracle"
    extra = "oracledb"
    empty_is_null = True
    from_nothing = " from dual"
    most_named = 1_000
    # Its type of whole numbers is number(38,0).
    whole_digits = 38
    words = ("0", "1")
    of_a_row = frozenset({*_OF_A_ROW, *_OF_A_TRIGGER})
    logins = frozenset({1005, 1017, 28000, 28001, 12514, 12505})
    rights = frozenset({1031, 1045, 41900})
    read_only = frozenset({16000})
    types = {  # noqa: RUF012 - a constant
        "number": "numeric",
        # Its precision counts bits.
        "float": "numeric",
        **dict.fromkeys(("binary_float", "binary_double"), "double precision"),
        **dict.fromkeys(_TEXTS, "varchar"),
        **dict.fromkeys(("date", "timestamp"), "timestamp"),
        **dict.fromkeys(("timestamp with time zone", "timestamp with local time zone"), "timestamptz"),
        "boolean": "boolean",
        "json": JSON,
    }
    columns_query = """
    select column_name as name, data_type as declared, char_length as length, data_precision as digits,
      data_scale as places, owner as in_schema, table_name as of_table
    from all_tab_columns
    where owner in (:in_schema, upper(:in_schema)) and table_name in (:of_table, upper(:of_table))
    order by column_id
    """

    def begin(self, connection: sa.Connection) -> None:
        """Write times and numbers in one form, moments with their zone."""
        connection.exec_driver_sql(_FORMATS)

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return the type in our copy; ``TIMESTAMP(6) WITH TIME ZONE`` has digits within."""
        kind = _without_digits(row)
        digits = None if kind == "float" else row["digits"]
        # number(*,0), as INTEGER is declared.
        if kind == "number" and digits is None and row["places"] == 0:
            digits = self.whole_digits
        return super().type_of({**row, "declared": kind, "digits": digits})

    def declared_of(self, row: Mapping[str, Any]) -> str:
        """Return the type with its digits; a text in its longest form, so that none is cut."""
        kind = _without_digits(row)
        if kind in _TEXTS:
            return "nvarchar2(2000)" if kind.startswith("n") else "varchar2(4000)"
        return sized(row, kind) if kind == "number" else kind

    def selected(self, column: RemoteColumn) -> str:
        """Return the value as text, without zero bytes."""
        text = self.as_text(column)
        if column.declared == "timestamp with local time zone":
            # Shown without its zone, which is the session's.
            return f"{text} || '+00'"
        return f"replace({text}, chr(0))" if column.is_text else text

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as the session's formats write it.

        :raises ConfigurationError: it is of a type that no digest takes.
        """
        name, kind = self.quoted(column.own), column.declared
        if kind in _LONG:
            raise ConfigurationError(
                f"Oracle makes no digest of the column {column.own} of type {kind}.",
                where="tables.*.fields",
                next_step="Map a view that shows it as varchar2(4000), or leave the column out.",
            )
        if kind.startswith(("varchar2", "nvarchar2")):
            return name
        if kind == "raw":
            return f"rawtohex({name})"
        if kind == "json":
            return f"json_serialize({name})"
        if kind == "boolean":
            return f"case when {name} then '1' when not {name} then '0' end"
        return f"to_char({name})"

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the md5 over each text's own: together they might be too long for a text."""
        parts = " || ".join(f"rawtohex(standard_hash({text}, 'MD5'))" for text in texts)
        return f"to_number(substr(rawtohex(standard_hash({parts}, 'MD5')), 1, 15), 'XXXXXXXXXXXXXXX')"

    def total(self, number: str) -> str:
        """Return the exact sum of a whole number over a group, as text."""
        return f"to_char(sum({number}))"

    def typed(self, parameter: str, column: RemoteColumn) -> str:
        """Return the parameter in the column's own type."""
        if column.declared == "json":
            return f"json({parameter})"
        if column.declared == "boolean":
            return f"to_boolean({parameter})"
        if column.type == "timestamptz":
            return f"to_timestamp_tz({parameter})"
        return super().typed(parameter, column)

    def parameter(self, column: RemoteColumn, value: Any) -> Any:
        """Return a value as text in the session's formats: a date has seconds and no part of one."""
        if column.declared == "date" and isinstance(value, datetime):
            return value.isoformat(" ", timespec="seconds")
        return super().parameter(column, value)

    def moment(self, value: datetime) -> str:
        """Return a time with all digits that the session's formats name."""
        return value.isoformat(" ", timespec="microseconds")

    def codes(self, error: sa.exc.DBAPIError) -> set[int]:
        """Return the number of ``ORA-00942``, as python-oracledb has it."""
        told = next(iter(getattr(error.orig, "args", ())), None)
        return {int(getattr(told, "code", 0) or 0)}


def _without_digits(row: Mapping[str, Any]) -> str:
    return re.sub(r"\(\d+\)", "", str(row["declared"])).lower()
