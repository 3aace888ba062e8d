"""No error of the warehouse holds a value of a row, however it is printed."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable

import psycopg
import pytest
import sqlalchemy as sa

from enerflo_sync.errors import EnerfloSyncError
from enerflo_sync.warehouse.bulk import driver_connection
from enerflo_sync.warehouse.engine import warehouse_errors

CANARY = "Zenobia Quux"
TABLE = (
    "create table public.people (name {type}, born date, note jsonb, constraint short check (name <> 'x'))"
)
RAISING = f"""
create function public.tell() returns trigger language plpgsql as $$ begin
  raise warning 'who is {CANARY}?';
  raise exception 'no {CANARY}' using errcode = '%s', detail = '{CANARY}', hint = '{CANARY}';
end $$;
create trigger tell before insert on public.people for each row execute function public.tell();
"""


def by_copy(connection: sa.Connection) -> None:
    with (
        driver_connection(connection).cursor() as cursor,
        cursor.copy("copy people (name) from stdin") as copy,
    ):
        copy.write(f"{CANARY}\n")


def by_driver(connection: sa.Connection) -> None:
    driver_connection(connection).execute("insert into people (name) values (%s)", [CANARY])


def by_sqlalchemy(connection: sa.Connection) -> None:
    connection.execute(sa.text("insert into people (name) values (:name)"), {"name": CANARY})


def by_type(connection: sa.Connection) -> None:
    connection.execute(
        sa.text("insert into people (born) values (cast(:name as text)::date)"), {"name": CANARY}
    )


def by_json(connection: sa.Connection) -> None:
    driver_connection(connection).execute("insert into people (note) values (%s::text::jsonb)", [CANARY])


def printed(error: BaseException) -> str:
    """The error as anybody may print it: with its chain, its arguments and what was suppressed."""
    parts = ["".join(traceback.format_exception(error))]
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in seen:
            seen.append(one)
            parts += [str(one), repr(one.args)]
            waiting += [one.__cause__, one.__context__, getattr(one, "orig", None)]
    return "\n".join(parts)


@pytest.mark.parametrize("write", [by_copy, by_driver, by_sqlalchemy, by_type, by_json])
@pytest.mark.parametrize("state", ["", "P0001", "22001", "42P01", "55000", "40001"])
@pytest.mark.parametrize("translated", [True, False])
def test_no_error_holds_a_value(
    warehouse: sa.Engine,
    write: Callable[[sa.Connection], None],
    state: str,
    translated: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with warehouse.begin() as connection:
        connection.exec_driver_sql(TABLE.format(type="text" if state else "varchar(5)"))
        if state:
            connection.exec_driver_sql((RAISING % state).replace("%", "%%"))
    with pytest.raises((EnerfloSyncError, psycopg.Error, sa.exc.DBAPIError)) as failed:
        if translated:
            with warehouse_errors("a test"), warehouse.begin() as connection:
                write(connection)
        else:
            with warehouse.begin() as connection:
                write(connection)
    assert "Zenobia" not in printed(failed.value)
    assert "Zenobia" not in caplog.text
    if not translated and state and write in (by_copy, by_driver, by_sqlalchemy):
        assert state in printed(failed.value)


def test_what_a_person_has_to_change_is_still_said(warehouse: sa.Engine) -> None:
    with (
        pytest.raises(EnerfloSyncError, match='relation "nowhere" does not exist'),
        warehouse_errors("a test"),
        warehouse.begin() as connection,
    ):
        connection.execute(sa.text("select * from nowhere"))
    with (
        pytest.raises(psycopg.Error, match='column "nothing" does not exist'),
        warehouse.begin() as connection,
    ):
        driver_connection(connection).execute("select nothing from sync.runs")
