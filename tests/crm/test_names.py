"""Names of tables in the file, and of anything in SQL."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from enerflo_sync.crm.names import literal, quoted, relation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("crm.installs", ("crm", "installs")),
        ('"a.b".c', ("a.b", "c")),
        ('"x""y"."Z z"', ('x"y', "Z z")),
        ("Sales EU.Ünits", ("Sales EU", "Ünits")),
    ],
)
def test_a_table_is_schema_and_name(text: str, expected: tuple[str, str]) -> None:
    assert relation(text) == expected


@pytest.mark.parametrize("text", ["installs", "a.b.c", "a.", ".b", "", '"a.b', "a..b"])
def test_anything_else_is_no_table(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text) or "^$"):
        relation(text)


@pytest.mark.parametrize(
    "text", ["plain", "o'neil", "back\\slash'", "50% %(x)s", 'quo"te', "ünï", "line\nbreak"]
)
def test_names_and_literals_survive_the_way_into_sql(warehouse: sa.Engine, text: str) -> None:
    with warehouse.connect() as connection:
        row = connection.exec_driver_sql(f"select {literal(text)} as {quoted(text)}", {}).mappings().one()
    assert dict(row) == {text: text}
