"""A second account in the same warehouse: all that is stored of the first, with other values and later times."""

from __future__ import annotations

from typing import Any

from tests.writes.conftest import Desk

TABLES = """
select table_schema || '.' || table_name as name, string_agg(quote_ident(column_name), ', ') as columns
from information_schema.columns c
where table_schema in ('enerflo', 'sync') and is_identity = 'NO' and is_generated = 'NEVER'
  and column_name <> 'account'
  and exists (select from information_schema.columns a where a.table_schema = c.table_schema
              and a.table_name = c.table_name and a.column_name = 'account')
  and exists (select from information_schema.tables t where t.table_schema = c.table_schema
              and t.table_name = c.table_name and t.table_type = 'BASE TABLE')
group by 1 order by 1
"""
# Each of these would be seen if a statement took it for the first account's.
_OTHERWISE = (
    "update enerflo.installs set status_name = 'Neighbour', panel_count = 7000, observed_at = now(),"
    " updated_at = now() where account = 'neighbour'",
    "update enerflo.milestones set due_at = '2049-01-01', observed_at = now() where account = 'neighbour'",
    "update enerflo.customers set email = 'neighbour@example.com', observed_at = now(), updated_at = now()"
    " where account = 'neighbour'",
    "update sync.agreed set value = '\"neighbour\"', agreed_at = now() where account = 'neighbour'",
    "update sync.own_writes set others_at = '2001-01-01' where account = 'neighbour'",
)


class Neighbour:
    """What is stored of the second account, which nobody's run but its own may read or change."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._tables = {row["name"]: row["columns"] for row in desk.sql(TABLES)}
        for name, columns in self._tables.items():
            desk.sql(f"delete from {name} where account = 'neighbour'")
            desk.sql(
                f"insert into {name} (account, {columns})"
                f" select 'neighbour', {columns} from {name} where account = 'default'"
            )
        for statement in _OTHERWISE:
            desk.sql(statement)
        self._before = self._rows()
        assert self._before["sync.agreed"]

    def _rows(self) -> dict[str, list[Any]]:
        query = "select to_jsonb(t)::text as row from {} t where account = 'neighbour' order by 1"
        return {name: self._desk.sql(query.format(name)) for name in self._tables}

    def assert_untouched(self) -> None:
        """Assert that all of it is as it was."""
        after = self._rows()
        assert [name for name, rows in after.items() if rows != self._before[name]] == []
