"""``--where``: a condition on installs, and nothing but that."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from enerflo_sync.errors import ConfigurationError
from enerflo_sync.rebuild.condition import read_condition


@pytest.mark.parametrize(
    "text",
    [
        "install_id = 5",
        "Status_Name = 'Voided' AND created_at < '2025-01-01'",
        "not (deleted_at is null or panel_count between 10 and 20)",
        "status_name in ('A', 'B', 'it''s; drop -- /* ( %')",
        "updated_at >= now() - interval '7 days' and lower(agent_name) like 'j%'",
        "created_at > date '2025-01-01' and system_size_kw <> 7.5",
        "customer_id > -5 and true",
        "  deal_id is not null  ",
    ],
)
def test_a_condition_is_taken(warehouse: sa.Engine, text: str) -> None:
    condition = read_condition(text)
    with warehouse.connect() as connection:
        condition.check(connection)
        statement = (
            f"select count(*) from enerflo.installs i where i.account = %(account)s and {condition.sql}"
        )
        assert connection.exec_driver_sql(statement, {"account": "default"}).scalar() == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("   ", "it is empty"),
        ("install_id = 5; drop table enerflo.installs", "';"),
        ("install_id = 5 -- and more", "'more'"),
        ("install_id = 5 /* and more */", "'/"),
        ("true) or (true", "brackets"),
        ("(true", "brackets"),
        ("account = 'other'", "'account'"),
        ("install_id in (select 1)", "'select'"),
        ("exists (table sync.runs)", "'exists'"),
        ("pg_sleep(100) is null", "'pg_sleep'"),
        ("install_id = 5 union all values (1)", "'union'"),
        ("i.install_id = 5", "'i'"),
        ("enerflo.installs = 5", "'enerflo'"),
        ('"install_id" = 5', "'\"install_id\"'"),
        ("lower = 'a'", "'lower'"),
        ("now = 'a'", "'now'"),
        ("install_id = $1", "'$1'"),
        ("agent_name = E'a'", "'E'"),
        ("agent_name = 'open", '"\'open"'),
        ("agent_name = $$a$$", "'$$a$$'"),
        ("install_id = 5abc", "'5abc'"),
        ("install_id / 0 = 1", "'/ 0"),
        ("install_id %% 2 = 0", "'%% 2"),
        ("install_id = ", "PostgreSQL says: syntax error"),
        ("install_id = 'x'", "PostgreSQL says: invalid input syntax"),
        ("install_id like 5", "PostgreSQL says: operator does not exist"),
        ("5", "PostgreSQL says: argument of WHERE must be type boolean"),
        ("created_at > '2025-99-01'", "PostgreSQL says: date/time field value out of range"),
        ("lower(panel_count) = 'a'", "PostgreSQL says: function lower(integer) does not exist"),
    ],
)
def test_anything_else_is_refused_and_said(warehouse: sa.Engine, text: str, why: str) -> None:
    with pytest.raises(ConfigurationError) as refused, warehouse.connect() as connection:
        read_condition(text).check(connection)
    assert why in refused.value.what
    assert refused.value.where == "--where"
    assert "status_name" in refused.value.next_step


def test_the_check_cannot_write(warehouse: sa.Engine) -> None:
    said: list[str] = []
    sa.event.listen(warehouse, "before_cursor_execute", lambda _c, _u, statement, *_: said.append(statement))
    with warehouse.connect() as connection:
        read_condition("true").check(connection)
    assert said[0] == "set transaction read only"
    assert len(said) == 2
