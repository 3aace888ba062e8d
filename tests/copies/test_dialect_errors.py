"""What the error of a database is about: a right, a login, the values of one row, or something else."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from enerflo_sync.copies.database import dialect_of
from enerflo_sync.copies.dialects.base import LOGIN, RIGHT


class DriverError(Exception):
    """An error as a driver raises it: with what it is made of, and the attributes that it has besides."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args)
        self.__dict__.update(named)


def of_google(kind: str) -> Exception:
    """Return an error of Google's API, which its kind alone tells from another."""
    return type(kind, (Exception,), {})()


# Of each database: an error about a right, one about a login, one about a row, and one about none of these.
ERRORS: dict[str, tuple[Exception, Exception, Exception, Exception]] = {
    "mysql": (DriverError(1142), DriverError(1045), DriverError(1264), DriverError(1146)),
    "snowflake": (
        DriverError(errno=3001, sqlstate="42501"),
        DriverError(errno=250001, sqlstate="08001"),
        DriverError(errno=100078, sqlstate="22000"),
        DriverError(errno=2003, sqlstate="02000"),
    ),
    "bigquery": (
        DriverError(of_google("Forbidden")),
        DriverError(of_google("Unauthorized")),
        DriverError(of_google("BadRequest")),
        DriverError(ValueError()),
    ),
    "redshift": (
        DriverError({"C": "42501"}),
        DriverError(pgcode="28000"),
        DriverError({"C": "22001"}),
        DriverError({"C": "42P01"}),
    ),
    "mssql": (
        DriverError((229, b"denied")),
        DriverError("28000", "[28000] Login failed. (18456) (SQLDriverConnect)"),
        DriverError(2628, b"cut"),
        DriverError(208, b"no object"),
    ),
    "databricks": (
        DriverError("[INSUFFICIENT_PERMISSIONS] for user 4011"),
        DriverError("Invalid access token"),
        DriverError("[CAST_INVALID_INPUT] of a value"),
        DriverError("[TABLE_OR_VIEW_NOT_FOUND]"),
    ),
    "oracle": (
        DriverError(DriverError(code=1031)),
        DriverError(DriverError(code=1017)),
        DriverError(DriverError(code=20_999)),
        DriverError(DriverError(code=942)),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_an_error_of_a_database_is_about(name: str) -> None:
    dialect = dialect_of(name)
    errors = [sa.exc.DBAPIError("", {}, one) for one in ERRORS[name]]
    assert [dialect.refusal(one) for one in errors] == [RIGHT, LOGIN, None, None]
    assert [dialect.refuses_a_row(one) for one in errors] == [False, False, True, False]
    assert dialect.refuses_a_row(sa.exc.IntegrityError("", {}, ERRORS[name][3]))
