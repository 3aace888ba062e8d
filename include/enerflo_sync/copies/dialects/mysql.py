"""MySQL and MariaDB, by PyMySQL."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from enerflo_sync.copies.dialects.base import JSON, UNPROVEN, WIDE, Dialect, RemoteColumn
from enerflo_sync.crm.copies import UNREAD_BETWEEN

# A trigger that refuses a row (SIGNAL), a constraint of a row, a value out of range or of the wrong form.
_VALUES = {1048, 1062, 1264, 1265, 1292, 1364, 1366, 1406, 1451, 1452, 1644, 1690, 3140, 3819, 4025}
# Letters that the column's character set lacks, the check of a view, a partition, a generated column.
_PLACES = {1267, 1369, 1526, 1906, 3105}
# Types of our copy.
_IN_DIGITS = ("bigint", "numeric", "boolean", "double precision", "date", "timestamp")
_BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"}

# A column of type year takes numbers up to 99 for years of this and the last century.
_TWO_DIGITS = 99
_NO_YEAR = 9999


class MySQL(Dialect):
    """MySQL and MariaDB: times of type timestamp are moments, those of type datetime have no zone."""

    names = ("mysql", "mariadb")
    drivers = {"mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql"}  # noqa: RUF012 - a constant
    title = "MySQL or MariaDB"
    extra = "mysql"
    version = 6
    quote = "`"
    from_nothing = " from dual"
    present = "/* enerflo-sync doctor: the time there */ select utc_timestamp(6)"
    most_keys = 30_000
    of_a_row = frozenset(_VALUES | _PLACES)
    # A name that is not known, or a view that takes no writes: the driver calls these operational.
    of_a_statement = frozenset({1052, 1054, 1111, 1288, 1305, 1348, 1356, 1393, 1394, 1395, 1471})
    # Access denied by the server, an unknown database; access denied to a database, table, column or routine.
    # So is a host that may not connect, a password that expired, and an account that is locked.
    logins = frozenset({1045, 1049, 1130, 1698, 1820, 1862, 3118, 4151})
    rights = frozenset({1044, 1142, 1143, 1227, 1370})
    # --read-only and --super-read-only (a replica), a read-only transaction, table or storage engine.
    read_only = frozenset({1036, 1290, 1792, 1836})
    types = {  # noqa: RUF012 - a constant
        **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year"), "bigint"),
        "decimal": "numeric",
        "numeric": "numeric",
        "float": "real",
        "double": "double precision",
        **dict.fromkeys(("varchar", "char"), "varchar"),
        "date": "date",
        "datetime": "timestamp",
        "timestamp": "timestamptz",
        "uuid": "uuid",
    }
    columns_query = """
    select column_name as name, data_type as declared, column_type as whole,
      character_maximum_length as length, numeric_precision as digits, numeric_scale as places,
      datetime_precision as fraction, character_set_name as letters,
      is_nullable = 'NO' and column_default is null and extra = '' as needed
    from information_schema.columns where table_schema = :in_schema and table_name = :of_table
    order by ordinal_position
    """

    def begin(self, connection: sa.Connection) -> None:
        """Read and write in UTC; refuse values that do not fit instead of changing them."""
        connection.exec_driver_sql(
            "set time_zone = '+00:00', sql_mode = concat(@@sql_mode, ',STRICT_ALL_TABLES')"
        )

    def refusal(self, error: sa.exc.DBAPIError) -> str | None:
        """Return what is refused, by the error's number; a certificate by what the driver itself had met."""
        met = getattr(error.orig, "original_exception", None)
        return UNPROVEN if isinstance(met, ssl.SSLCertVerificationError) else super().refusal(error)

    def type_of(self, row: Mapping[str, Any]) -> str:
        """Return the type in our copy: tinyint(1) is MySQL's boolean, and an unsigned bigint is a numeric."""
        whole = str(row["whole"]).lower()
        if whole.startswith(("tinyint(1)", "bit(1)")):
            return "boolean"
        if whole.startswith("bigint") and "unsigned" in whole:
            return f"numeric({WIDE},0)"
        if whole.startswith("bit("):
            # A text would be written as its bytes.
            return "bigint" if int(row["digits"]) < 64 else f"numeric({WIDE},0)"
        return super().type_of(row)

    def as_number(self, column: RemoteColumn) -> RemoteColumn:
        """Return a column that is compared as a number: tinyint(1) may hold other numbers than 0 and 1."""
        return replace(column, type="bigint") if column.type == "boolean" else column

    def selected(self, column: RemoteColumn) -> str:
        """Return the column; a text without zero bytes, which PostgreSQL does not have."""
        if column.is_text or column.type == JSON:
            return f"replace(convert({self._value(column)} using utf8mb4), char(0 using utf8mb4), '')"
        if column.declared == "float":
            # MySQL rounds the unconverted value to six digits.
            return f"({self._value(column)} + 0e0)"
        return self._value(column)

    def parameter(self, column: RemoteColumn, value: Any) -> Any:
        """Return the value; for 1 to 99 a number that a year refuses, since MySQL takes 5 for 2005."""
        if column.declared == "year" and isinstance(value, int) and 0 < value <= _TWO_DIGITS:
            return _NO_YEAR
        return super().parameter(column, value)

    def as_text(self, column: RemoteColumn) -> str:
        """Return the value as utf8mb4, which can represent every text of the table; bytes as digits."""
        value = self._value(column)
        if column.declared in _BYTES:
            return f"convert(hex({value}) using utf8mb4)"
        if column.letters == "utf8mb4":
            return value
        # The text of a float has six digits, which several floats share.
        return f"convert({f'({value} + 0e0)' if column.declared == 'float' else value} using utf8mb4)"

    def _value(self, column: RemoteColumn) -> str:
        # As a number, since a bit would be returned as a byte.
        return f"({self.quoted(column.own)} + 0)" if column.declared == "bit" else self.quoted(column.own)

    def row_digest(self, columns: Sequence[RemoteColumn], more: Sequence[str]) -> str:
        """Return 60 bits of the sha1 over the values, each text after its length.

        Numbers and times need none: no part of one is taken for another. That is a third of the time. MariaDB
        computes a sha1 faster than an md5, a fifth of the time.
        """
        parts = list(more)
        for one in columns:
            text = self.as_text(one)
            parts.append(
                f"ifnull({self._value(one)}, '-')"
                if _is_plain(one)
                else f"ifnull(length({text}), '-'), {text}"
            )
        return _sixty_bits(parts)

    def whole(self, column: RemoteColumn) -> str:
        """Return a column of whole numbers as such; a bit is read as bytes otherwise."""
        return self._value(column)

    def digest(self, texts: Sequence[str]) -> str:
        """Return 60 bits of the sha1 over the texts, each with its length in front."""
        return _sixty_bits(f"coalesce(concat(char_length({text}), '.', {text}), '-')" for text in texts)

    def total(self, number: str) -> str:
        """Return the exact sum of a whole number over a group, as text."""
        return f"cast(sum({number}) as char)"

    def unread(self, columns: Sequence[RemoteColumn]) -> str | None:
        """Return the columns with a date that no calendar has: 2026-02-00. One of zeros alone is none."""
        parts = []
        for one in columns:
            if one.declared in ("date", "datetime"):
                name = one.name.encode().hex()
                parts.append(f"if({_is_no_date(self._value(one))}, convert(x'{name}' using utf8mb4), null)")
        return f"nullif(concat_ws('{UNREAD_BETWEEN}', {', '.join(parts)}), '')" if parts else None

    def conversion(self, column: RemoteColumn) -> Callable[[Any], Any] | None:
        """Return what makes booleans of 0 and 1, and nothing of a date of zeros."""
        if column.type == "boolean":
            return bool
        if column.type in ("date", "timestamp", "timestamptz"):
            return _no_zeros
        return super().conversion(column)

    def codes(self, error: sa.exc.DBAPIError) -> set[object]:
        """Return the error's number."""
        return set(getattr(error.orig, "args", ())[:1])


def _sixty_bits(parts: Iterable[str]) -> str:
    return f"cast(conv(left(sha1(concat_ws('|', {', '.join(parts)})), 15), 16, 10) as unsigned)"


def _is_no_date(value: str) -> str:
    """Return whether a date has zeros beside other parts, or a day that its month lacks."""
    year, month, day = (f"{part}({value})" for part in ("year", "month", "day"))
    common = f"({year} mod 4 <> 0 or {year} mod 100 = 0 and {year} mod 400 <> 0)"
    return (
        f"({year} = 0) + ({month} = 0) + ({day} = 0) in (1, 2) or {month} in (4, 6, 9, 11) and {day} = 31"
        f" or {month} = 2 and ({day} > 29 or {day} = 29 and {common})"
    )


def _is_plain(column: RemoteColumn) -> bool:
    """Return whether a value is written in digits and signs alone, all of its digits among them."""
    return column.type.startswith(_IN_DIGITS) and column.declared != "float"


def _no_zeros(value: Any) -> Any:
    # The driver returns an invalid date, such as 0000-00-00, as text.
    return None if isinstance(value, str) else value
