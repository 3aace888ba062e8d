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


# What each number or state is about, as the documentation of its database lists them.
OF_A_ROW: dict[str, list[Any]] = {
    "mysql": [
        *(1048, 1062, 1264, 1265, 1292, 1364, 1366, 1406, 1451, 1452, 1644, 1690, 3140, 3819, 4025),
        *(1267, 1369, 1526, 1906, 3105),
    ],
    "mssql": [220, 232, 241, 242, 245, 515, 547, 2601, 2627, 2628, 3609, 8114, 8115, 8152, 50000],
    "oracle": [
        *(1, 1400, 1407, 1438, 1722, 1830, 1839, 1840, 1843, 1847, 1858, 1861, 2290, 2291, 2292, 12899),
        *(20_000, 20_999),
    ],
}
OF_A_STATEMENT = {"mysql": [1052, 1054, 1111, 1288, 1305, 1348, 1356, 1393, 1394, 1395, 1471]}
LOGINS: dict[str, list[Any]] = {
    "mysql": [1045, 1049, 1130, 1698, 1820, 1862, 3118, 4151],
    "mssql": [4060, 18450, 18451, 18452, 18456, 18486, 18487, 18488],
    "oracle": [1005, 1017, 28000, 28001, 12514, 12505],
}
RIGHTS: dict[str, list[Any]] = {
    "mysql": [1044, 1142, 1143, 1227, 1370],
    "mssql": [229, 230, 262, 300, 916, 921],
    "oracle": [1031, 1045, 41900],
}


READ_ONLY: dict[str, list[Any]] = {"mysql": [1036, 1290, 1792, 1836], "mssql": [3906], "oracle": [16000]}


def numbered(name: str, number: int) -> sa.exc.DBAPIError:
    raised = DriverError(DriverError(code=number)) if name == "oracle" else DriverError(number)
    return sa.exc.DBAPIError("", {}, raised)


@pytest.mark.parametrize("name", RIGHTS)
def test_each_number_of_an_error_is_about_one_thing(name: str) -> None:
    dialect = dialect_of(name)
    known = {
        **dict.fromkeys(OF_A_ROW[name], "row"),
        **dict.fromkeys(LOGINS[name], LOGIN),
        **dict.fromkeys(RIGHTS[name], RIGHT),
    }
    # A login of one database may be a number of a right in another one; none has both.
    assert len(known) == sum(len(of[name]) for of in (OF_A_ROW, LOGINS, RIGHTS))
    for number in {near for one in known for near in (one - 1, one, one + 1)}:
        error = numbered(name, number)
        about = "row" if dialect.refuses_a_row(error) else dialect.refusal(error)
        if name == "oracle" and 20_000 <= number < 21_000:
            assert about == "row"
        else:
            assert about == known.get(number), number


@pytest.mark.parametrize("name", READ_ONLY)
def test_that_a_database_only_reads_is_told_by_its_number(name: str) -> None:
    dialect = dialect_of(name)
    for number in {near for one in READ_ONLY[name] for near in (one - 1, one, one + 1)}:
        assert dialect.only_reads(numbered(name, number)) == (number in READ_ONLY[name]), number
        assert dialect.refusal(numbered(name, number)) is None


def test_that_a_database_only_reads_is_told_by_its_state_or_words() -> None:
    refused = (
        'Cannot execute statement of type "UPDATE" on database "crm" which is attached in read-only mode!'
    )
    for name, error in {
        "postgresql": DriverError(sqlstate="25006"),
        "redshift": DriverError({"C": "25006"}),
        "duckdb": DriverError(refused),
    }.items():
        dialect = dialect_of(name)
        assert dialect.only_reads(sa.exc.DBAPIError("", {}, error))
        assert not dialect.only_reads(
            sa.exc.DBAPIError("", {}, DriverError({"C": "25P02"}, sqlstate="25P02"))
        )


def test_what_the_driver_of_mysql_calls_operational_is_about_a_statement() -> None:
    dialect = dialect_of("mysql")
    numbers = OF_A_STATEMENT["mysql"]
    for number in {near for one in numbers for near in (one - 1, one, one + 1)}:
        assert dialect.refuses_a_statement(numbered("mysql", number)) is (number in numbers), number
    for kind in (sa.exc.ProgrammingError, sa.exc.NotSupportedError, sa.exc.DataError):
        assert dialect.refuses_a_statement(kind("", {}, DriverError(9)))
    for kind in (sa.exc.OperationalError, sa.exc.IntegrityError, sa.exc.InternalError):
        assert not dialect.refuses_a_statement(kind("", {}, DriverError(9)))
    for kind, of_a_row in (
        *((sa.exc.DataError, True), (sa.exc.IntegrityError, True)),
        *((sa.exc.ProgrammingError, False), (sa.exc.OperationalError, False)),
    ):
        assert dialect.refuses_a_row(kind("", {}, DriverError(9))) is of_a_row


@pytest.mark.parametrize(
    ("name", "error", "codes"),
    [
        ("mysql", DriverError(), set()),
        ("mysql", DriverError(1, 2), {1}),
        ("snowflake", DriverError(), {""}),
        ("snowflake", DriverError(errno=5, sqlstate="22007"), {"5", "22007", "22"}),
        ("redshift", DriverError("x", {"C": "22007"}), {"22007", "22"}),
        ("redshift", DriverError("x", pgcode="3D000"), {"3D000", "3D"}),
        ("redshift", DriverError(), {""}),
        ("oracle", DriverError(), {0}),
        ("oracle", DriverError("text"), {0}),
        ("oracle", DriverError(DriverError(code="942")), {942}),
        ("mssql", DriverError((229, b"x"), 5, "[x] (18456) (SQL) (7"), {229, 5, 18456, 7}),
        ("mssql", DriverError("no number (x) (1x)"), set()),
        ("databricks", DriverError("[CAST_INVALID_INPUT] 4011 PERMISSION"), {"CAST_INVALID_INPUT", "401"}),
        ("databricks", DriverError("nothing"), set()),
        ("bigquery", DriverError(of_google("Forbidden")), {"DriverError", "Forbidden"}),
        ("duckdb", DriverError(5), set()),
    ],
)
def test_what_a_driver_calls_an_error(name: str, error: Exception, codes: set[object]) -> None:
    assert dialect_of(name).codes(sa.exc.DBAPIError("", {}, error)) == codes


def test_of_google_the_cause_tells_as_well() -> None:
    error = DriverError("outer")
    error.__cause__ = of_google("RefreshError")
    dialect = dialect_of("bigquery")
    assert dialect.codes(sa.exc.DBAPIError("", {}, error)) == {"DriverError", "str", "RefreshError"}
    assert dialect.refusal(sa.exc.DBAPIError("", {}, error)) == LOGIN


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (DriverError(sqlstate="28P01"), LOGIN),
        (DriverError(sqlstate="3D000"), LOGIN),
        (DriverError(sqlstate="42501"), RIGHT),
        (DriverError(sqlstate="42P01"), None),
        (DriverError("password authentication failed for user"), LOGIN),
        (DriverError('database "x" does not exist'), LOGIN),
        (DriverError('no pg_hba.conf entry for host "10.1.2.3"'), LOGIN),
        (DriverError('role "sync" is not permitted to log in'), LOGIN),
        (DriverError('permission denied for database "crm"'), LOGIN),
        (DriverError("connection refused"), None),
        # With a state its words count for nothing.
        (DriverError('relation "x" does not exist', sqlstate="42P01"), None),
    ],
)
def test_what_postgresql_refuses(error: Exception, refused: str | None) -> None:
    assert dialect_of("postgresql").refusal(sa.exc.DBAPIError("", {}, error)) == refused


@pytest.mark.parametrize(
    ("kind", "words", "of_a_row", "taken"),
    [
        ("ConstraintException", "x", True, False),
        ("ConversionException", "x", True, False),
        ("IOException", 'IO Error: Could not set lock on file "x"', False, True),
        ("BinderException", "x", False, False),
    ],
)
def test_what_duckdb_refuses(kind: str, words: str, of_a_row: bool, taken: bool) -> None:
    error = sa.exc.DBAPIError("", {}, type(kind, (Exception,), {})(words))
    duckdb = dialect_of("duckdb")
    assert (duckdb.refuses_a_row(error), duckdb.is_taken(error)) == (of_a_row, taken)
    assert not dialect_of("mysql").is_taken(error)
